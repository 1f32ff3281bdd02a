"""Shapes of models to measure with."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import LlamaConfig, PretrainedConfig, Qwen3Config


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of transformers' configuration that decide what a step costs."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool = False

    @property
    def architecture(self) -> type[PretrainedConfig]:
        """Tied weights stand for Qwen3, which has norms of queries and keys too."""
        return Qwen3Config if self.tie_word_embeddings else LlamaConfig


SHAPES = {
    "8B": Shape(4096, 32, 32, 8, 128, 14_336, 128_256, 131_072),
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151_936, 40_960, tie_word_embeddings=True),
    "25M": Shape(384, 8, 6, 2, 64, 1024, 8192, 4096),
    "tiny": Shape(64, 2, 4, 2, 16, 96, 512, 2048),
}
"""`8B` is Llama-3.1-8B's, `0.6B` Qwen3-0.6B's; `25M` (18.9M parameters) is the one of the figures over HTTP;
`tiny` shows that a script runs."""
