"""Attention of the compiled kernels, with AMX and without: a token's logits are bit for bit the same however its
sequence is cut into steps and whoever is beside it, and they are those of transformers' modules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from app.model import attention
from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.loading.tracing import trace_layers
from app.model.modules.decoder import ModuleDecoder
from app.model.native import library
from app.model.native.decoder import NativeDecoder

CPU = torch.device("cpu")
BLOCK_SIZE, NUM_BLOCKS = 16, 40
VOCAB_SIZE = 100
NUM_TOKENS = 150
"""Of a sequence: neither whole blocks nor an even number of them."""


@dataclass(frozen=True)
class Heads:
    num_heads: int
    num_kv_heads: int
    size: int
    window: int | None = None

    def make_model(self, dtype: torch.dtype) -> tf.MistralForCausalLM:
        torch.manual_seed(0)
        config = tf.MistralConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_kv_heads,
            head_dim=self.size,
            sliding_window=self.window,
            vocab_size=VOCAB_SIZE,
            initializer_range=0.15,
        )
        return tf.MistralForCausalLM(config).to(dtype).eval()


HEADS = [
    Heads(6, 2, 64),
    Heads(4, 4, 96),
    Heads(40, 1, 32, window=20),
    Heads(4, 2, 128, window=50),
    Heads(4, 2, 48),
]


def make_cache(model: tf.PreTrainedModel) -> KVCache:
    """What it holds before anything is written is not a number."""
    cache = KVCache(trace_layers(model.config), NUM_BLOCKS, BLOCK_SIZE, model.dtype, CPU)
    for blocks in (*cache.keys, *cache.values):
        blocks.fill_(torch.nan)
    return cache


def make_native(heads: Heads) -> NativeDecoder:
    model = heads.make_model(torch.bfloat16)
    kernels = library.load_library(torch.bfloat16)
    return NativeDecoder(kernels, model, make_cache(model), NUM_TOKENS)


class Story:
    """The tokens of one sequence, at random, and its blocks, anywhere."""

    def __init__(self, seed: int) -> None:
        choice = np.random.default_rng(seed)
        self.token_ids = choice.integers(0, VOCAB_SIZE, NUM_TOKENS)
        self.blocks = choice.permutation(NUM_BLOCKS // 2)[: -(-NUM_TOKENS // BLOCK_SIZE)] + seed * NUM_BLOCKS // 2


Row = tuple[Story, int, int]


def make_batch(rows: Sequence[Row], wanted: Sequence[int] | None = None) -> ForwardBatch:
    """Tokens `start` to `end` of each story, rows of one token first; logits are wanted of all, or of some."""
    positions = [np.arange(start, end) for _, start, end in rows]
    slots = [
        story.blocks[at // BLOCK_SIZE] * BLOCK_SIZE + at % BLOCK_SIZE
        for (story, _, _), at in zip(rows, positions, strict=True)
    ]
    ends = np.cumsum([0, *(len(at) for at in positions)]).tolist()
    return ForwardBatch(
        packed=np.concatenate(
            [story.token_ids[start:end] for story, start, end in rows]
            + positions
            + slots
            + [np.arange(ends[-1]) if wanted is None else np.array(wanted, dtype=np.int64)]
        ),
        num_decode_rows=sum(len(at) == 1 for at in positions),
        cu_seqlens_q=np.array(ends, dtype=np.int32),
        seq_lens=np.array([end for _, _, end in rows], dtype=np.int32),
        block_tables=np.stack([story.blocks for story, _, _ in rows]).astype(np.int32),
        is_decode=False,
        device=torch.device("cpu"),
    )


def step(decoder: NativeDecoder | ModuleDecoder, *rows: Row) -> list[torch.Tensor]:
    """Compute the rows in one step; the logits after every token of each."""
    batch = make_batch(sorted(rows, key=lambda row: row[2] - row[1] > 1))
    with torch.inference_mode():
        logits = decoder.forward(batch)
    return [logits[begin:end] for begin, end in pairwise(batch.cu_seqlens_q.tolist())]


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.usefixtures("_with_and_without_amx")
def test_a_token_is_bit_for_bit_the_same_however_it_came_to_be_computed(heads: Heads) -> None:
    story, neighbour = Story(0), Story(1)
    [whole] = step(make_native(heads), (story, 0, NUM_TOKENS))
    assert whole.isfinite().all()
    one_by_one = make_native(heads)
    assert torch.equal(torch.cat([step(one_by_one, (story, at, at + 1))[0] for at in range(NUM_TOKENS)]), whole)
    rng = random.Random(1)
    cuts = [0, *sorted(rng.sample(range(1, NUM_TOKENS), 9)), NUM_TOKENS]
    decoder = make_native(heads)
    for (start, end), (other_start, other_end) in zip(pairwise(cuts), pairwise([*range(0, 140, 14), 150]), strict=True):
        logits = step(decoder, (neighbour, other_start, other_end), (story, start, end))
        assert torch.equal(logits[-1 if end - start > 1 else 0], whole[start:end])


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.usefixtures("_with_and_without_amx")
def test_the_last_layer_gives_the_tokens_that_are_wanted_the_logits_that_they_have_among_all(heads: Heads) -> None:
    """First those to sample from, a guessed row's among them, then those that report on prompts."""
    decoder = make_native(heads)
    step(decoder, (Story(0), 0, 40))
    rows = [(Story(0), 40, 41), (Story(1), 0, 50), (Story(0), 41, 60)]
    everything = decoder.forward(make_batch(rows))
    for wanted in ([], [0], [50], [0, 67, 68, 69], [0, 50, 69, *range(20, 50), 51, 53]):
        assert torch.equal(decoder.forward(make_batch(rows, wanted)), everything[wanted]), wanted


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.usefixtures("_with_and_without_amx")
def test_it_is_the_attention_of_the_modules(heads: Heads) -> None:
    attention.register()
    widened: Any = heads.make_model(torch.bfloat16).float()
    widened.set_attn_implementation(attention.NAME)
    [expected] = step(ModuleDecoder(widened, make_cache(widened)), (Story(0), 0, NUM_TOKENS))
    [given] = step(make_native(heads), (Story(0), 0, NUM_TOKENS))
    torch.testing.assert_close(given, expected, rtol=0.03, atol=0.03 * expected.abs().max().item())
