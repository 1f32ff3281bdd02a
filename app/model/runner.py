"""Executes a scheduled batch: tensors in, one forward pass, sampled tokens out."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import torch

from app.messages import TokenLogprobs
from app.model.inputs import ForwardBatch, build_forward_batch, token_array
from app.model.logprobs import gather_logprobs
from app.model.sampler import sample
from app.scheduler.batch import ModelOutput, ScheduledBatch


class Decoder(Protocol):
    """A model over its cache: `forward` gives logits `[num_logits, vocab]` for `batch.logits_indices`.

    `weight_bytes` is what its weights take in memory, as they are read.
    """

    name: str

    @property
    def weight_bytes(self) -> int: ...

    def forward(self, batch: ForwardBatch) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class ModelRunner:
    """The one place where a step touches the device."""

    decoder: Decoder
    block_size: int
    device: torch.device

    @torch.inference_mode()
    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        """Compute the batch's tokens and sample the next token of every row that reaches its end, drafted or not."""
        began = perf_counter()
        forward_batch = build_forward_batch(batch, self.block_size, self.device)
        built = perf_counter()
        logits = self.decoder.forward(forward_batch)
        forwarded = perf_counter()
        sequences = [sequence for row in batch.rows for sequence in row.sampled]
        prompt_logprobs = _prompt_logprobs(batch, logits[len(sequences) :])
        to_sample = logits[: len(sequences)].float()
        reported = [i for i, sequence in enumerate(sequences) if sequence.params.logprobs is not None]
        model_logits = to_sample[reported] if reported else None
        token_ids = sample(to_sample, sequences)
        logprobs: dict[int, TokenLogprobs] = {}
        if model_logits is not None:
            num_top = [sequences[i].params.logprobs or 0 for i in reported]
            chosen = token_ids[reported].clamp(min=0)
            logprobs = dict(zip(reported, gather_logprobs(model_logits, chosen, num_top), strict=True))
        return ModelOutput(token_ids.tolist(), logprobs, prompt_logprobs, forwarded - built, built - began)


def _prompt_logprobs(batch: ScheduledBatch, logits: torch.Tensor) -> dict[int, list[TokenLogprobs]]:
    """Reports on the prompt tokens that this step's `[num_positions, vocab]` logits predict, by sequence id."""
    reports = {}
    begin = 0
    for row in batch.rows:
        positions = row.prompt_logprob_positions
        if positions:
            predicted = token_array(row.sequence)[positions.start + 1 : positions.stop + 1].astype(np.int64)
            row_logits = logits[begin : begin + len(positions)].float()
            num_top = [row.sequence.params.prompt_logprobs or 0] * len(positions)
            token_ids = torch.from_numpy(predicted).to(logits.device)
            reports[row.sequence.seq_id] = gather_logprobs(row_logits, token_ids, num_top)
            begin += len(positions)
    return reports
