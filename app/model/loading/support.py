"""Which models can be served, by their configuration alone, and the words of a refusal."""

from __future__ import annotations

from transformers import PretrainedConfig

from app.model.transformers_internals import (
    causal_model_class,
    has_replaceable_attention,
    is_composite,
    is_stateful,
    parts_of,
)

SERVED_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
RECURRENT_LAYER_TYPES = frozenset({"linear_attention", "conv", "mamba", "recurrent", "hybrid", "hybrid_sliding"})


class UnsupportedModel(ValueError):
    """The model cannot be served; the message says why, in words for the person who asked for it."""


class TransformersFailure(UnsupportedModel):
    """transformers' own code failed on a configuration, with an error of any kind.

    `action`: what it could not do with it: read, build or run.
    """

    def __init__(self, action: str, error: Exception) -> None:
        super().__init__(f"transformers cannot {action} it: {in_one_line(error)}")
        self.action = action
        self.error = error


def refusal(config: PretrainedConfig, reason: str) -> UnsupportedModel:
    return UnsupportedModel(f"models of type {config.model_type!r} cannot be served: {reason}")


def in_one_line(error: Exception) -> str:
    """The type and message of an error, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def check_config(config: PretrainedConfig) -> None:
    """Raises UnsupportedModel if the configuration alone shows that the model cannot be served."""
    if config.is_encoder_decoder:
        raise refusal(config, "it is an encoder-decoder; Millrace serves decoders")
    if is_composite(config):
        parts = ", ".join(parts_of(config)) or "text and images"
        raise refusal(config, f"it joins several models ({parts}); Millrace serves models of text alone")
    model_class = causal_model_class(config)
    if model_class is None:
        raise refusal(config, "transformers has no causal language model for it")
    others = set(getattr(config, "layer_types", None) or ()) - SERVED_LAYER_TYPES
    if recurrent := sorted(others & RECURRENT_LAYER_TYPES):
        raise refusal(config, f"it has layers with a recurrent state ({', '.join(recurrent)}); {_CACHE_HOLDS}")
    if is_stateful(model_class) and not (others or has_replaceable_attention(model_class)):
        raise refusal(config, f"it has layers with a recurrent state; {_CACHE_HOLDS}")
    if others:
        raise refusal(
            config, f"it has layers of type {', '.join(sorted(others))}; only full and sliding attention are served"
        )
    if not has_replaceable_attention(model_class):
        raise refusal(config, "its attention in transformers cannot be replaced by one that reads a paged cache")
    if config.num_hidden_layers < 1:
        raise refusal(
            config, f"num_hidden_layers is {config.num_hidden_layers} in its config.json, and must be 1 or more"
        )


_CACHE_HOLDS = "the cache holds only the keys and values of attention"
