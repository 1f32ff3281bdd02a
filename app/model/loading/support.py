"""Which models can be served, by their configuration alone, and the words of a refusal."""

from __future__ import annotations

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

SERVED_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
RECURRENT_LAYER_TYPES = frozenset({"linear_attention", "conv", "mamba", "recurrent", "hybrid", "hybrid_sliding"})


class UnsupportedModel(ValueError):
    """The model cannot be served; the message is the reason, in words for the person who asked for it."""


def refusal(config: PretrainedConfig, reason: str) -> UnsupportedModel:
    return UnsupportedModel(f"models of type {config.model_type!r} cannot be served: {reason}")


def in_one_line(error: Exception) -> str:
    """The words of an error that may be spread over lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def check_config(config: PretrainedConfig) -> None:
    """Raises UnsupportedModel for what a configuration alone gives away."""
    if config.is_encoder_decoder:
        raise refusal(config, "it is an encoder-decoder; Millrace serves decoders")
    if _is_composite(config):
        parts = ", ".join(sorted(config.sub_configs)) or "text and images"
        raise refusal(config, f"it joins several models ({parts}); Millrace serves models of text alone")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise refusal(config, "transformers has no causal language model for it")
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    others = set(getattr(config, "layer_types", None) or ()) - SERVED_LAYER_TYPES
    if recurrent := sorted(others & RECURRENT_LAYER_TYPES):
        raise refusal(config, f"it has layers with a recurrent state ({', '.join(recurrent)}); {_CACHE_HOLDS}")
    if model_class._is_stateful and not (others or model_class._supports_attention_backend):
        raise refusal(config, f"it has layers with a recurrent state; {_CACHE_HOLDS}")
    if others:
        raise refusal(
            config, f"it has layers of type {', '.join(sorted(others))}; only full and sliding attention are served"
        )
    if not model_class._supports_attention_backend:
        raise refusal(config, "its attention in transformers cannot be replaced by one that reads a paged cache")
    if config.num_hidden_layers < 1:
        raise refusal(
            config, f"num_hidden_layers is {config.num_hidden_layers} in its config.json, and must be 1 or more"
        )


_CACHE_HOLDS = "the cache holds keys and values of attention alone"


def _is_composite(config: PretrainedConfig) -> bool:
    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or config.get_text_config(decoder=True) is not config
