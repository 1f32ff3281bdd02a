"""What each layer of a model stores and sees, found by running the model without weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from app.model import attention
from app.model.kv_cache import LayerShape
from app.model.loading.masks import Mask, UnknownMask, describe_masks, window_of
from app.model.loading.support import TransformersFailure, UnsupportedModel, refusal
from app.model.transformers_internals import cached_windows, rope_variants

LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})

Traced = TypeVar("Traced", bound=attention.Attention)

HONOURED = frozenset({"scaling", "softcap", "s_aux", "sliding_window", "is_causal"})
"""Options of attention that change its result, and that ours honours; the mask says the last two as well."""

WITHOUT_EFFECT = frozenset(
    {"position_ids", "cache_position", "use_cache", "return_dict"}
    | {"output_attentions", "output_hidden_states", "output_router_logits"}
)


def trace_layers(config: PretrainedConfig) -> list[LayerShape]:
    """Run the model on the meta device, where nothing is computed, and note what each attention layer stores and sees.

    A model that keeps state outside the cache, or asks attention for something that is not served, is found out here.
    Raises UnsupportedModel.
    """
    _, trace = run_without_weights(config, partial(_Trace, config))
    if sorted(trace.layers) != list(range(config.num_hidden_layers)):
        raise refusal(
            config, f"{len(trace.layers)} of its {config.num_hidden_layers} layers go through the paged attention"
        )
    layers = [trace.layers[index] for index in range(config.num_hidden_layers)]
    _check_windows(config, layers)
    return layers


def _check_windows(config: PretrainedConfig, layers: list[LayerShape]) -> None:
    """Refuse models for which transformers' own cache drops keys that their mask still shows."""
    for index, (layer, window) in enumerate(zip(layers, cached_windows(config), strict=False)):
        kept = window or config.max_position_embeddings
        if kept < (layer.window or config.max_position_embeddings):
            raise refusal(
                config,
                f"its layer {index} sees {layer.window or 'all'} tokens by its mask, "
                f"and {kept} in transformers' own cache",
            )


def run_without_weights(config: PretrainedConfig, traced: Callable[[], Traced]) -> tuple[PreTrainedModel, Traced]:
    """Run one token through the model on the meta device, with a stand-in for attention that gets each layer's `Mask`.

    Returns the model, which has shapes but no values, and the stand-in that `traced` made. Raises UnsupportedModel.
    """
    attention.register()
    describe_masks(attention.TRACED)
    config = copy.deepcopy(config)
    for rope in rope_variants(config):
        if rope["rope_type"] in LENGTH_DEPENDENT_ROPE:
            rope["rope_type"] = "default"  # the others read the values of positions, and on the meta device are none
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=torch.bfloat16, attn_implementation=attention.TRACED
            ).eval()
    except Exception as error:  # models check little of their configuration, and fail on the rest in any way
        raise TransformersFailure("build", error) from error
    try:
        try:
            return model, _run_one_token(model, "meta", traced())
        except NotImplementedError:  # shapes depend on values, as where experts are routed: slower, but with values
            return model, _run_one_token(model._apply(_zeros_like), "cpu", traced())
    except UnsupportedModel:
        raise
    except Exception as error:
        raise TransformersFailure("run", error) from error


def _run_one_token(model: PreTrainedModel, device: str, traced: Traced) -> Traced:
    """With more tokens, or without the mask that `generate` gives, models would look for padding in the values."""
    with torch.inference_mode(), torch.device(device), attention.using(traced):
        token, ones = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.int64)
        model(input_ids=token, position_ids=token, attention_mask=ones, use_cache=False)
    return traced


def _zeros_like(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of this shape on the CPU that takes no memory: one zero, expanded. Floats are float32, for speed."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return torch.zeros((), dtype=dtype).expand(tensor.shape)


class _Trace:
    """Stands in for the attention of a step, and records each layer's shape."""

    def __init__(self, config: PretrainedConfig) -> None:
        self._config = config
        self.layers: dict[int, LayerShape] = {}
        self._windows: dict[Mask, int | None] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> torch.Tensor:
        unknown = sorted(name for name, option in options.items() if _is_lost(name, option))
        if unknown:
            raise refusal(self._config, f"its attention takes {', '.join(unknown)}")
        if getattr(module, "sinks", None) is not None and options.get("s_aux") is None:
            raise refusal(self._config, "its attention has sinks, which it does not hand on")
        layer: int = module.layer_idx  # type: ignore[assignment]
        if layer in self.layers:
            raise refusal(self._config, f"its layer {layer} attends twice, and the cache holds one set of keys a layer")
        self.layers[layer] = LayerShape(key.shape[1], key.shape[3], value.shape[3], self._window(attention_mask))
        return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])

    def _window(self, mask: torch.Tensor | None) -> int | None:
        """How far a layer sees, by its mask. A model has only a few masks, which its layers share."""
        if not isinstance(mask, Mask):
            raise refusal(self._config, "it makes masks of its own, which attention over a paged cache does not see")
        if mask not in self._windows:
            try:
                with torch.device("cpu"):
                    self._windows[mask] = window_of(mask.sees, self._config.max_position_embeddings)
            except UnknownMask as error:
                raise refusal(self._config, str(error)) from error
        return self._windows[mask]


def _is_lost(name: str, option: object) -> bool:
    """Whether an option asks for something that ours does not do. One that is off (None, False, 0) asks for nothing."""
    if name in HONOURED | WITHOUT_EFFECT:
        return False
    return isinstance(option, torch.Tensor) or bool(option)
