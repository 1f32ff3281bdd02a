"""What Millrace uses of transformers beyond what its documentation promises, all in one place.

`tests/test_transformers_internals.py` tries each on the installed version, and `pyproject.toml` bounds that from above.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def register_attention(name: str, attend: Callable[..., Any]) -> None:
    """Make `attn_implementation=name` known.

    Layers call `attend(module, query, key, value, attention_mask, **options)` and take the first of the two it returns.
    Unless masks are registered too, transformers builds none at all.
    """
    AttentionInterface.register(name, attend)


def register_masks(name: str, describe: Callable[..., Any]) -> None:
    """Have models of this attention implementation given `describe(...)` wherever transformers would build a mask.

    Among its keyword arguments are `batch_size`, `kv_length` and `mask_function`, which says of (sequence, head,
    position of the query, position of the key), elementwise, whether that key is visible.
    """
    AttentionMaskInterface.register(name, describe)


def configuration_from(fields: dict[str, Any]) -> PretrainedConfig:
    """What `AutoConfig.from_pretrained` makes of a config.json with these fields. Raises anything."""
    config: PretrainedConfig = CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    return config


def causal_model_class(config: PretrainedConfig) -> Any | None:
    """The class of the causal language model that this configuration describes; None if there is none."""
    return MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def is_stateful(model_class: Any) -> bool:
    """Whether a model keeps a recurrent state beside, or instead of, keys and values."""
    return bool(model_class._is_stateful)


def has_replaceable_attention(model_class: Any) -> bool:
    """Whether a model's layers look their attention up in `AttentionInterface`."""
    return bool(model_class._supports_attention_backend)


def is_composite(config: PretrainedConfig) -> bool:
    """Whether a configuration joins several models, such as one of text and one of images."""
    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or config.get_text_config(decoder=True) is not config


def parts_of(config: PretrainedConfig) -> list[str]:
    """The names of the configurations that are joined in one."""
    return sorted(config.sub_configs)


def rope_variants(config: PretrainedConfig) -> list[dict[str, Any]]:
    """The rotary parameters of a model, or of each of its layer types; what is changed in them, the model has."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return [
        variant
        for variant in (parameters, *parameters.values())
        if isinstance(variant, dict) and "rope_type" in variant
    ]


def cached_windows(config: PretrainedConfig) -> list[int | None]:
    """How many tokens transformers' own cache keeps in each layer; None for all of them."""
    return [getattr(layer, "sliding_window", None) or None for layer in DynamicCache(config=config).layers]


def is_failed_conversion(error: Exception) -> bool:
    """Whether weights could not be joined to the form that the model holds them in, as those of experts are.

    The message points to a report that transformers logs, which is not shown here.
    """
    return "conversion of the weights" in str(error)


@contextmanager
def loading_progress(report: Callable[[float], None]) -> Iterator[None]:
    """`report` receives which share of the weights is read (0 to 1), in place of transformers' progress bar."""

    def count(weights: Collection[Any]) -> Iterator[Any]:
        for number, weight in enumerate(weights, 1):
            yield weight
            report(number / len(weights))

    previous = transformers.logging.set_tqdm_hook(lambda _make, given, _options: count(*given))
    try:
        yield
    finally:
        transformers.logging.set_tqdm_hook(previous)
