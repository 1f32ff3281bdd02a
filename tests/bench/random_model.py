"""Models to measure with: random weights in a given shape, and a tokenizer every token of which shows as text."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from tests.bench.shapes import Shape
from tests.e2e.directories import train_tokenizer

SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]

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
