"""Refuses checkpoints whose weights are quantised, or stored as anything else that cannot be read as plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os.path import lexists
from pathlib import Path
from typing import Any

from app.checkpoint.files import BadCheckpoint, read_json

CONFIG_KEYS = ("quantization_config", "compression_config")
CONFIG_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Where quantisation tools other than transformers (ModelOpt, AutoGPTQ, AutoAWQ) describe what they did."""

NAMING_KEYS = ("quant_method", "quant_algo", "format", "fmt", "bits", "w_bit")
PLAIN_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
INTEGER_BUFFERS = (".position_ids", ".attn.bias", ".attention.bias", ".masked_bias", ".causal_mask", ".tid2eid")
"""Suffixes of tensors that are not weights, and may be integers: positions, causal masks, tables of ids."""

INTEGER_DTYPES = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})

REMEDY = "use the model's float32, float16 or bfloat16 weights (--quantization can quantise those when they are loaded)"


def check_not_quantized(directory: Path, config: Mapping[str, Any]) -> None:
    """Raises BadCheckpoint, with the method's name, if the configuration says that the weights are quantised."""
    for name in CONFIG_FILES:
        if lexists(directory / name):
            said = read_json(directory / name)
            raise _refusal(directory / name, _method(said.get("quantization", said)))
    for section in _sections(config):
        for key in CONFIG_KEYS:
            if section.get(key) is not None:
                raise _refusal(directory / "config.json", _method(section[key]))


def check_dtypes(path: Path, dtypes: Mapping[str, str]) -> None:
    """Raises BadCheckpoint if a weight is stored as something else than the floating-point numbers of a model."""
    for name, dtype in dtypes.items():
        is_buffer = dtype in INTEGER_DTYPES and f".{name}".endswith(INTEGER_BUFFERS)
        if dtype not in PLAIN_DTYPES and not is_buffer:
            raise BadCheckpoint(f"{path}: {name} is stored as {dtype}, which is not served; {REMEDY}")


def _sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A configuration, and the configurations of its parts (`text_config` and the like)."""
    yield config
    yield from (value for value in config.values() if isinstance(value, dict))


def _method(said: object) -> str:
    if not isinstance(said, dict):
        return repr(said)
    named = [f"{key} {said[key]}" for key in NAMING_KEYS if said.get(key) is not None]
    return ", ".join(named) or "by a method it does not name"


def _refusal(path: Path, method: str) -> BadCheckpoint:
    return BadCheckpoint(f"{path} says that the weights are quantised ({method}), which is not served; {REMEDY}")
