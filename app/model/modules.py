"""A forward pass through transformers' own modules, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from app.model.attention import Attention
from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.sdpa import SdpaAttention, Workspace

AttentionOfStep = Callable[[ForwardBatch], Attention]


def sdpa_attention(cache: KVCache) -> AttentionOfStep:
    """Attention in plain torch."""
    workspace = Workspace()
    return lambda batch: SdpaAttention(batch, cache, workspace)


def triton_attention(cache: KVCache) -> AttentionOfStep:
    """Attention by Triton's kernels. Raises ImportError where Triton is not installed."""
    from app.model.triton.attention import TritonAttention
    from app.model.triton.batch import DeviceBatch

    return lambda batch: TritonAttention(DeviceBatch.of(batch), cache)


BACKENDS: dict[str, Callable[[KVCache], AttentionOfStep]] = {"sdpa": sdpa_attention, "triton": triton_attention}


class ModuleDecoder:
    """Any decoder that transformers can run with a replaced attention."""

    def __init__(self, model: PreTrainedModel, cache: KVCache, backend: str = "sdpa") -> None:
        """`backend` is one of `BACKENDS`."""
        self.name = backend
        self._model = model
        self._attention = BACKENDS[backend](cache)

    @property
    def weight_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self._model.parameters())

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step; its keys and values are in the cache."""
        logits: torch.Tensor = self._model(
            input_ids=batch.input_ids[None],
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=batch.logits_indices,
            attention=self._attention(batch),
        ).logits
        return logits[0]
