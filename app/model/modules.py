"""A forward pass through transformers' own modules, on any device."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.sdpa import SdpaAttention, Workspace


class ModuleDecoder:
    """Any decoder that transformers can run with a replaced attention."""

    name = "sdpa"

    def __init__(self, model: PreTrainedModel, cache: KVCache) -> None:
        self._model = model
        self._cache = cache
        self._workspace = Workspace()

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
            attention=SdpaAttention(batch, self._cache, self._workspace),
        ).logits
        return logits[0]
