"""A decoder on transformers' own modules, with attention by Triton's kernels."""

from __future__ import annotations

import torch

from app.model.device_batch import DeviceBatch
from app.model.inputs import ForwardBatch
from app.model.modules.decoder import ModuleDecoder
from app.model.triton.attention import TritonAttention
from app.model.triton.sampling import sample_tokens
from app.scheduler.batch import Sampled


class TritonDecoder(ModuleDecoder):
    """Once a batch is on the device, nothing waits for the host or for the device."""

    name = "triton"

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        return self.run(DeviceBatch.of(batch))

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return sample_tokens(logits, sequences)

    def run(self, batch: DeviceBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step; its keys and values are in the cache."""
        return self._run(batch, TritonAttention(batch, self._cache))
