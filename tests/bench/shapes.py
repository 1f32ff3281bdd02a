"""Models to measure with: random weights in a given shape, and a tokenizer every token of which shows as text."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from tests.e2e.directories import train_tokenizer

SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of transformers' Llama configuration that decide what a step costs."""

    hidden_size: int = 384
    num_hidden_layers: int = 8
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    intermediate_size: int = 1024
    vocab_size: int = 8192
    max_position_embeddings: int = 4096


SHAPES = {
    "small": Shape(),
    "tiny": Shape(64, 2, 4, 2, 96, 512, 2048),
}
"""`small` is the one that figures are given for; `tiny` shows that a script runs."""


def save_model(directory: Path, shape: Shape, seed: int) -> int:
    """Write a directory that can be served. Returns the number of parameters."""
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = LlamaConfig(**asdict(shape), bos_token_id=None, eos_token_id=None)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(directory)
    tokenizer = train_tokenizer(make_text(seed), shape.vocab_size)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(directory)
    return int(model.num_parameters())


def make_text(seed: int) -> list[str]:
    """Nonsense of many different words, in ASCII: no token is half a character, so that each is sent as it comes."""
    choice = random.Random(seed)
    words = ["".join(choice.choices(SYLLABLES, k=choice.randint(2, 4))) for _ in range(30_000)]
    return [" ".join(words[begin : begin + 100]) for begin in range(0, len(words), 100)]
