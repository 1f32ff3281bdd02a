"""Executes a scheduled batch: tensors in, one forward pass, sampled tokens out."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol

import numpy as np
import torch

from app.model.execution import DeviceExecution
from app.model.in_flight import InFlightTokens, Unknown
from app.model.inputs import ForwardBatch, as_numpy, build_forward_batch
from app.model.sampling.logprobs import LogprobRows, gather_logprobs
from app.model.sampling.masks import TokenMasks
from app.model.sampling.penalties import Penalties
from app.model.sampling.sampler import sample
from app.model.transfer import to_device
from app.scheduler.batch import Sampled, ScheduledBatch, ScheduledRow


class Decoder(Protocol):
    """A model over its cache: `forward` gives logits `[num_logits, vocab]` for `batch.logits_indices`, and `sample` is
    its `Sampler`.

    `weight_bytes`: what its weights take in memory, in the form in which they are read.
    """

    name: str

    @property
    def weight_bytes(self) -> int: ...

    def forward(self, batch: ForwardBatch) -> torch.Tensor: ...

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor: ...


class ModelRunner:
    """The one place where a step touches the device. Nothing in `execute` waits for the device."""

    def __init__(self, decoder: Decoder, block_size: int, device: torch.device) -> None:
        self.decoder = decoder
        self.block_size = block_size
        self.device = device
        self._in_flight = InFlightTokens()
        self._penalties = Penalties()

    @torch.inference_mode()
    def execute(self, batch: ScheduledBatch, masks: TokenMasks | None = None) -> DeviceExecution:
        """Compute the batch's tokens and sample the next token of every row that reaches its end, drafted or not.

        `masks` are waited for once the forward pass is launched.
        """
        began = perf_counter()
        forward_batch = build_forward_batch(batch, self.block_size, self.device, self._in_flight)
        unknown = forward_batch.unknown
        sequences = [sampled for row in batch.rows for sampled in row.sampled]
        built = perf_counter()
        logits = self.decoder.forward(forward_batch)
        forwarded = perf_counter()
        prompt_logprobs = _prompt_logprobs(batch.rows, logits, begin=len(sequences))
        to_sample = logits[: len(sequences)]
        reported = [index for index, sampled in enumerate(sequences) if sampled.params.logprobs is not None]
        if not reported:
            token_ids, logprobs = self._sample(to_sample, sequences, unknown, masks), None
        else:
            at = to_device(np.array(reported), self.device)
            model_logits = to_sample.index_select(0, at).float()
            token_ids = self._sample(to_sample, sequences, unknown, masks)
            num_top = [sequences[index].params.logprobs or 0 for index in reported]
            logprobs = gather_logprobs(model_logits, token_ids.index_select(0, at).clamp(min=0), num_top)
        self._in_flight.keep(sequences, token_ids)
        return DeviceExecution(token_ids, reported, logprobs, prompt_logprobs, forwarded - built, built - began)

    def _sample(
        self, logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown | None, masks: TokenMasks | None
    ) -> torch.Tensor:
        return sample(logits, sequences, unknown, self.decoder.sample, self._penalties, masks)


def _prompt_logprobs(rows: list[ScheduledRow], logits: torch.Tensor, begin: int) -> dict[int, LogprobRows]:
    """Logprobs of the prompt tokens that this step's logits predict from row `begin` on, by sequence id."""
    reports = {}
    for row in rows:
        positions = row.prompt_logprob_positions
        if positions:
            predicted = as_numpy(row.sequence.token_ids)[positions.start + 1 : positions.stop + 1].astype(np.int64)
            row_logits = logits[begin : begin + len(positions)].float()
            num_top = [row.sequence.params.prompt_logprobs or 0] * len(positions)
            reports[row.sequence.seq_id] = gather_logprobs(row_logits, to_device(predicted, logits.device), num_top)
            begin += len(positions)
    return reports
