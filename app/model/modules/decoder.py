"""A decoder on transformers' own modules, for any device."""

from __future__ import annotations

from typing import Protocol

import torch
from transformers import PreTrainedModel

from app.model.attention import Attention, using
from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.modules.sdpa import SdpaAttention, Workspace
from app.model.sampling.draw import sample_tokens
from app.scheduler.batch import Sampled


class Tokens(Protocol):
    """The tokens and positions of a step, `[num_tokens]`, and the indices of those whose logits are wanted."""

    @property
    def input_ids(self) -> torch.Tensor: ...

    @property
    def positions(self) -> torch.Tensor: ...

    @property
    def logits_indices(self) -> torch.Tensor: ...


class ModuleDecoder:
    """Runs any model whose attention can be replaced, and attends with torch's operators."""

    name = "sdpa"

    def __init__(self, model: PreTrainedModel, cache: KVCache) -> None:
        self._model = model
        self._cache = cache
        self._workspace = Workspace()

    @property
    def weight_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self._model.parameters())

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step, whose keys and values it stores in the cache."""
        return self._run(batch, SdpaAttention(batch, self._cache, self._workspace))

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return sample_tokens(logits, sequences)

    def _run(self, tokens: Tokens, attention: Attention) -> torch.Tensor:
        with using(attention):
            logits: torch.Tensor = self._model(
                input_ids=tokens.input_ids[None],
                position_ids=tokens.positions[None],
                use_cache=False,
                logits_to_keep=tokens.logits_indices,
            ).logits
        return logits[0]
