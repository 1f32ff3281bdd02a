"""What a model is, by its configuration: what its layers store in the paged cache, or why it cannot be served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig

from app.checkpoint.files import read_json_if_present
from app.checkpoint.inspection import CONFIG
from app.model.kv_cache import LayerShape
from app.model.loading.faults import explain
from app.model.loading.support import TransformersFailure, UnsupportedModel, check_config, refusal
from app.model.loading.tracing import LENGTH_DEPENDENT_ROPE, trace_layers
from app.model.transformers_internals import configuration_from, rope_variants

MAX_POSITIONS = 1 << 24
"""More than any published model has. The trace looks at what a layer sees from each position."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model before its weights are read. `max_model_len`: the longest sequence it can serve."""

    config: PretrainedConfig
    layers: list[LayerShape]
    max_model_len: int


def inspect_model(directory: Path) -> ModelFacts:
    """Read a model's configuration and trace the model without weights. Raises UnsupportedModel with the reason."""
    path = directory / CONFIG
    try:
        return _facts_of(_read_config(directory))
    except TransformersFailure as failure:
        if "auto_map" in read_json_if_present(path):
            raise UnsupportedModel(
                f"{directory} needs Python code of its own (auto_map in config.json), which is never run; serve a "
                "model that transformers knows by itself"
            ) from failure
        raise explain(path, failure, lambda fields: _facts_of(configuration_from(fields))) from failure


def _read_config(directory: Path) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # each type of model checks its configuration in its own way, and raises anything
        raise TransformersFailure("read", error) from error
    return config


def _facts_of(config: PretrainedConfig) -> ModelFacts:
    check_config(config)
    max_model_len = _max_model_len(config)
    return ModelFacts(config, trace_layers(config), max_model_len)


def select_device(name: str) -> torch.device:
    """The device of this name; `auto` is the first of cuda, mps and cpu that is there."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def select_dtype(name: str, config: PretrainedConfig, device: torch.device, keeps_bfloat16: bool) -> torch.dtype:
    """`auto` is the dtype that the weights are stored in, but float32 on a CPU, where torch's operators are fastest.

    With `keeps_bfloat16`, bfloat16 weights stay bfloat16 on a CPU too: the compiled kernels read them, and compute in
    float32.
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


def _max_model_len(config: PretrainedConfig) -> int:
    """The longest sequence that the model's positions allow.

    Rotary embeddings whose frequencies switch with the longest sequence of the batch (longrope) would make requests
    depend on each other, so they are served up to the length at which they switch.
    """
    length: int | None = getattr(config, "max_position_embeddings", None)
    if not length:
        raise refusal(config, "its configuration does not say how long sequences may be (max_position_embeddings)")
    if length > MAX_POSITIONS:
        raise refusal(
            config, f"max_position_embeddings is {length} in its config.json, and may be at most {MAX_POSITIONS}"
        )
    for rope in rope_variants(config):
        if rope["rope_type"] in LENGTH_DEPENDENT_ROPE:
            length = min(length, rope.get("original_max_position_embeddings", length))
    return length
