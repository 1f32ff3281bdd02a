"""Models to measure with: random weights in a given shape, and a tokenizer every token of which shows as text."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.utils import logging

from tests.e2e.directories import train_tokenizer

SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]


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
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151_936, 40_960, tie_word_embeddings=True),
    "25M": Shape(384, 8, 6, 2, 64, 1024, 8192, 4096),
    "tiny": Shape(64, 2, 4, 2, 16, 96, 512, 2048),
}
"""`0.6B` is Qwen3-0.6B's; `25M` (18.9M parameters) is the one that figures over HTTP are given for; `tiny` shows that a
script runs."""

TRAINED_TOKENS = 8192
"""A larger vocabulary is filled up with tokens that no text gives, but each of which has a text."""


def save_model(directory: Path, shape: Shape, seed: int, dtype: torch.dtype = torch.float32) -> int:
    """Write a directory that can be served. Returns the number of parameters."""
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = shape.architecture(**asdict(shape), bos_token_id=None, eos_token_id=None)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(directory)
    tokenizer = train_tokenizer(make_text(seed), min(shape.vocab_size, TRAINED_TOKENS))
    PreTrainedTokenizerFast(tokenizer_object=fill_up(tokenizer, shape.vocab_size)).save_pretrained(directory)
    return int(model.num_parameters())


def fill_up(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """The same tokenizer with more tokens, up to `vocab_size`, that nothing is merged into."""
    described = json.loads(tokenizer.to_str())
    described["model"]["vocab"] |= {f"w{index}": index for index in range(tokenizer.get_vocab_size(), vocab_size)}
    return Tokenizer.from_str(json.dumps(described))


def make_text(seed: int) -> list[str]:
    """Nonsense of many different words, in ASCII: no token is half a character, so that each is sent as it comes."""
    choice = random.Random(seed)
    words = ["".join(choice.choices(SYLLABLES, k=choice.randint(2, 4))) for _ in range(30_000)]
    return [" ".join(words[begin : begin + 100]) for begin in range(0, len(words), 100)]
