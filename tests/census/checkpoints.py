"""A tiny random checkpoint of any model type that transformers knows."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from tests.census.sizes import NOT_FOR_IMAGES, OVERRIDES, SIZES, TEXT_PARTS, VARIANTS

MODEL_TYPES = [*dict.fromkeys([*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES])]
"""All that transformers maps to a causal language model, or to one that reads images beside text."""


def auto_class(name: str) -> Any:
    """The class that checkpoints of this type are published for."""
    return AutoModelForImageTextToText if reads_images(name) else AutoModelForCausalLM


def reads_images(name: str) -> bool:
    return name.partition("@")[0] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def tiny_config(name: str) -> PretrainedConfig:
    """The configuration of a model type, or of one of its variants (`type@variant`), with every size made tiny."""
    model_type, _, variant = name.partition("@")
    values = _tiny_values(CONFIG_MAPPING[model_type], SIZES)
    for field, value in (OVERRIDES.get(model_type, {}) | (VARIANTS[name] if variant else {})).items():
        is_part = field in CONFIG_MAPPING[model_type].sub_configs
        values[field] = {**values.get(field, {}), **value} if is_part else value
    config: PretrainedConfig = CONFIG_MAPPING[model_type](**values)
    return config


def any_config(name: str) -> PretrainedConfig | None:
    """The tiny configuration, or the type's defaults where it has no tiny one; None if it has neither."""
    for make in (tiny_config, lambda name: CONFIG_MAPPING[name.partition("@")[0]]()):
        try:
            config: PretrainedConfig = make(name)
        except Exception:  # each type checks its configuration in its own way, and raises anything
            continue
        return config
    return None


def save_checkpoint(name: str, directory: Path) -> None:
    """Save a random model. Weights are large enough that greedy text varies and that every part of a layer counts."""
    torch.manual_seed(0)
    model: PreTrainedModel = auto_class(name).from_config(tiny_config(name), dtype=torch.float32)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            _enliven(parameter_name.lower(), parameter)
        for buffer_name, buffer in model.named_buffers():
            if "e_score_correction_bias" in buffer_name or "expert_bias" in buffer_name:
                buffer.normal_(std=0.05)
    model.save_pretrained(directory)


def _enliven(name: str, parameter: torch.Tensor) -> None:
    if any(part in name for part in ("a_log", "dt_bias", "conv1d")) or not parameter.dtype.is_floating_point:
        return  # of recurrent layers: their start values are what keeps the state finite
    if parameter.dim() > 1:
        parameter.normal_(std=0.05) if parameter.abs().max() == 0 else parameter.mul_(5)
    elif "sink" in name:
        parameter.normal_()
    else:
        parameter.add_(torch.randn_like(parameter) * 0.1)
    parameter.nan_to_num_(0.01, 0.01, 0.01)


def _tiny_values(config_class: type[PretrainedConfig], sizes: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Keyword arguments that make a tiny configuration of this class, with those of its parts."""
    try:
        default = config_class()
    except Exception:  # it has required fields, or defaults that its own checks refuse
        default = None
    aliases = config_class.attribute_map
    names = set(inspect.signature(config_class.__init__).parameters) | set(aliases) | set(vars(default or object))
    values = {
        name: size
        for name, size in sizes.items()
        if name in names and aliases.get(name) not in sizes and _is_a_size(default, name)
    }
    if "qk_rope_head_dim" in values and "kv_lora_rank" in values:  # latent attention: heads have no size of their own
        values.pop("head_dim", None)
        values |= {"num_key_value_heads": SIZES["num_attention_heads"]} if "num_key_value_heads" in values else {}
    for name, declared in config_class.sub_configs.items() if depth < 3 else ():
        part = declared if default is None else type(getattr(default, name, None))
        if isinstance(part, type) and issubclass(part, PretrainedConfig) and part.model_type:
            is_text = any(word in name for word in TEXT_PARTS)
            values[name] = _tiny_values(part, SIZES if is_text else NOT_FOR_IMAGES, depth + 1)
            values[name] |= {"model_type": part.model_type} | (OVERRIDES.get(part.model_type, {}) if is_text else {})
    return values


def _is_a_size(default: PretrainedConfig | None, name: str) -> bool:
    """Whether this field takes one number. A window that is off by default stays off."""
    try:
        value = getattr(default, name, None)
    except Exception:  # a property that this type refuses to have
        return False
    off = name == "sliding_window" and value is None and default is not None
    return not off and not isinstance(value, list | tuple | dict)
