"""Models that we compute ourselves: they differ in norms of queries and keys, biases and windows alone."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config, Qwen3Config

ARCHITECTURES = (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)


def is_llama_like(config: PretrainedConfig) -> bool:
    return type(config) in ARCHITECTURES and config.hidden_act == "silu" and not getattr(config, "mlp_bias", False)


def window_of(attention: Any) -> int | None:
    """A layer's sliding window in tokens: where each architecture's attention takes it from."""
    holder = attention.config if isinstance(attention.config, MistralConfig) else attention
    window: int | None = getattr(holder, "sliding_window", None)
    return window
