"""What a model is, from its configuration: what its layers store in the paged cache, or why it cannot be served."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from app.model import attention
from app.model.kv_cache import LayerShape

SERVED_LAYER_TYPES = {"full_attention", "sliding_attention"}
LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


class UnsupportedModel(ValueError):
    """The model cannot be served; the message is the reason, in words for the person who asked for it."""


def in_one_line(error: Exception) -> str:
    """The words of an error that may be spread over lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model before its weights are read. `max_model_len` is the longest it can be served with."""

    config: PretrainedConfig
    layers: list[LayerShape]
    max_model_len: int


def inspect_model(directory: Path) -> ModelFacts:
    """Read a model's configuration and trace it without weights. Raises UnsupportedModel with the reason."""
    try:
        config = AutoConfig.from_pretrained(directory)
    except Exception as error:  # each type of model checks its configuration in its own way, and raises anything
        raise UnsupportedModel(
            f"{directory}/config.json is no configuration that transformers can read: {in_one_line(error)}"
        ) from error
    _check_config(config)
    return ModelFacts(config, trace_layers(config), _max_model_len(config))


def choose_device(name: str) -> torch.device:
    """`auto` is the first of cuda, mps and cpu that is there."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_dtype(name: str, config: PretrainedConfig, device: torch.device, keeps_bfloat16: bool) -> torch.dtype:
    """`auto` is the dtype the weights are stored in, and float32 on a CPU, whose torch operators are fastest in it.

    bfloat16 stays what it is on a CPU too where `keeps_bfloat16`: the compiled kernels only read in it.
    """
    if name != "auto":
        return dtype_named(name)
    stored = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    if device.type == "cpu" and not (stored is torch.bfloat16 and keeps_bfloat16):
        return torch.float32
    return stored


def dtype_named(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def trace_layers(config: PretrainedConfig) -> list[LayerShape]:
    """Run the model on the meta device, where nothing is computed, and note what each attention layer stores.

    Whatever keeps state outside the cache, or asks of attention what the cache does not do, shows here.
    """
    trace = _Trace(config)
    try:
        run_without_weights(config, trace)
    except (KeyError, TypeError, NotImplementedError, RuntimeError) as error:
        raise UnsupportedModel(_refusal(config, f"it cannot be traced: {type(error).__name__}: {error}")) from error
    if sorted(trace.layers) != list(range(config.num_hidden_layers)):
        reason = f"{len(trace.layers)} of its {config.num_hidden_layers} layers go through the paged attention"
        raise UnsupportedModel(_refusal(config, reason))
    return [trace.layers[index] for index in range(config.num_hidden_layers)]


def run_without_weights(config: PretrainedConfig, traced: attention.Attention) -> PreTrainedModel:
    """Run two tokens through the model on the meta device, with this attention. Returns the model, all of it shapes."""
    attention.register()
    config = copy.deepcopy(config)
    for rope in _rope_variants(config):
        if rope["rope_type"] in LENGTH_DEPENDENT_ROPE:
            rope["rope_type"] = "default"  # the others read positions, which the meta device does not have
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation=attention.NAME
        ).eval()
        token_ids = torch.zeros(1, 2, dtype=torch.int64)
    with torch.inference_mode():
        model(input_ids=token_ids, position_ids=token_ids, use_cache=False, attention=traced)
    return model


class _Trace:
    """Stands in for the attention of a step and records each layer's shapes."""

    KNOWN_TENSORS = frozenset({"position_ids", "s_aux"})

    def __init__(self, config: PretrainedConfig) -> None:
        self._config = config
        self.layers: dict[int, LayerShape] = {}

    def __call__(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        unknown = sorted(
            name
            for name, option in options.items()
            if isinstance(option, torch.Tensor) and name not in self.KNOWN_TENSORS
        )
        if unknown:
            raise UnsupportedModel(_refusal(self._config, f"its attention takes {', '.join(unknown)}"))
        if not options.get("is_causal", getattr(module, "is_causal", True)):
            raise UnsupportedModel(_refusal(self._config, "its attention is not causal"))
        layer: int = module.layer_idx  # type: ignore[assignment]
        if layer in self.layers:
            raise UnsupportedModel(_refusal(self._config, f"layer {layer} attends twice"))
        self.layers[layer] = LayerShape(key.shape[1], key.shape[3], value.shape[3])
        return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])


def _check_config(config: PretrainedConfig) -> None:
    if config.is_encoder_decoder:
        raise UnsupportedModel(_refusal(config, "it is an encoder-decoder; Millrace serves decoders"))
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModel(_refusal(config, "transformers has no causal language model for it"))
    if not MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_attention_backend:
        raise UnsupportedModel(_refusal(config, "transformers has no replaceable attention for it"))
    others = sorted(set(getattr(config, "layer_types", None) or ()) - SERVED_LAYER_TYPES)
    if others:
        raise UnsupportedModel(
            _refusal(config, f"it has layers of type {', '.join(others)}; the cache serves full and sliding attention")
        )


def _max_model_len(config: PretrainedConfig) -> int:
    """The longest sequence the positions allow.

    Rotary embeddings whose frequencies switch with the longest sequence in the batch (longrope) would couple
    requests; they are served up to the length at which they switch.
    """
    length: int = config.max_position_embeddings
    for rope in _rope_variants(config):
        if rope["rope_type"] in LENGTH_DEPENDENT_ROPE:
            length = min(length, rope.get("original_max_position_embeddings", length))
    return length


def _rope_variants(config: PretrainedConfig) -> list[dict[str, Any]]:
    """The rotary parameters of a model, or of each of its layer types."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return [
        variant
        for variant in (parameters, *parameters.values())
        if isinstance(variant, dict) and "rope_type" in variant
    ]


def _refusal(config: PretrainedConfig, reason: str) -> str:
    return f"models of type {config.model_type!r} cannot be served: {reason}"
