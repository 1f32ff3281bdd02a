"""The compiled kernels' attention, which cannot be called alone: in a decoder of one layer with tiny matrices."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from app.model import attention
from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.native.decoder import PANEL, NativeDecoder
from app.model.native.library import NoKernels, load_library
from app.scheduler.sequence import Sequence
from tests.bench.paged_case import BLOCK_SIZE, CPU, Case, Prepared, attend_exactly, batch_of

VOCAB_SIZE = 32
CHUNK = 512
SCALE = 8
"""Weights are this much larger than transformers makes them, so that the scores, and with them the logits, differ."""


def native(case: Case, dtype: torch.dtype) -> Prepared:
    """Compute the cached tokens, chunk by chunk, so that only the others are left.

    What is compared are the logits of every token. Raises NotImplementedError where there are no kernels.
    """
    model = _one_layer(case, dtype)
    cache = KVCache([case.heads.layer], case.num_blocks, BLOCK_SIZE, dtype, CPU)
    try:
        library = load_library(dtype)
    except NoKernels as error:
        raise NotImplementedError(str(error)) from error
    exact = copy.deepcopy(model).double()
    decoder = NativeDecoder(library, model, cache, case.context)
    sequences = case.sequences(VOCAB_SIZE)
    start = case.context - case.num_queries
    for begin in range(0, start, CHUNK):
        for sequence in sequences:
            decoder.forward(batch_of([sequence], begin, min(begin + CHUNK, start)))
    batch = _with_all_logits(batch_of(sequences, start, case.context))
    shortest = _with_all_logits(batch_of([each for each in sequences for _ in range(case.num_queries)], 0, 1))
    return Prepared(
        run=lambda: decoder.forward(batch),
        expected=torch.cat([_exact_logits(exact, sequence, case.num_queries) for sequence in sequences]),
        without_context=lambda: decoder.forward(shortest),
    )


def _one_layer(case: Case, dtype: torch.dtype) -> PreTrainedModel:
    attention.register()
    config = LlamaConfig(
        hidden_size=math.lcm(PANEL, case.heads.num_heads),
        intermediate_size=PANEL,
        num_hidden_layers=1,
        num_attention_heads=case.heads.num_heads,
        num_key_value_heads=case.heads.num_kv_heads,
        head_dim=case.heads.size,
        vocab_size=VOCAB_SIZE,
        max_position_embeddings=case.context,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=attention.NAME
    ).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(SCALE)
    return model


def _with_all_logits(batch: ForwardBatch) -> ForwardBatch:
    columns = batch.columns
    return replace(batch, packed=np.concatenate((columns.ravel(), np.arange(columns.shape[1]))))


def _exact_logits(model: PreTrainedModel, sequence: Sequence, num_queries: int) -> torch.Tensor:
    with attention.using(_LastTokens(num_queries)):
        logits: torch.Tensor = model(
            input_ids=torch.tensor([list(sequence.token_ids)]), use_cache=False, logits_to_keep=num_queries
        ).logits
    return logits[0]


class _LastTokens:
    """Attention by its definition for the last tokens only: in one layer, no other token has a part in their logits."""

    def __init__(self, num_queries: int) -> None:
        self._num_queries = num_queries

    def __call__(
        self, _module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        output = torch.zeros_like(query)
        output[0, :, -self._num_queries :] = attend_exactly(query[0, :, -self._num_queries :], key[0], value[0])
        return output.transpose(1, 2)
