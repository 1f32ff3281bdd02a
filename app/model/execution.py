"""A step in flight, whose results are being copied to the host."""

from __future__ import annotations

import torch

from app.model.sampling.logprobs import LogprobRows
from app.model.transfer import ToHost
from app.scheduler.batch import ModelOutput


class DeviceExecution:
    """`logprobs` belong to the samples whose indices are in `reported`; prompt logprobs are keyed by sequence id."""

    def __init__(
        self,
        token_ids: torch.Tensor,
        reported: list[int],
        logprobs: LogprobRows | None,
        prompt_logprobs: dict[int, LogprobRows],
        forward_seconds: float,
        input_seconds: float,
    ) -> None:
        self._reported = reported
        self._seq_ids = [*prompt_logprobs]
        self._logprobs = [*([] if logprobs is None else [logprobs]), *prompt_logprobs.values()]
        self._copies = ToHost([token_ids, *(logprobs.rows for logprobs in self._logprobs)])
        self._forward_seconds = forward_seconds
        self._input_seconds = input_seconds

    def wait(self) -> ModelOutput:
        """Wait for the step's output."""
        token_ids, *copies = self._copies.wait()
        reports = [logprobs.read(rows) for logprobs, rows in zip(self._logprobs, copies, strict=True)]
        sampled = reports.pop(0) if self._reported else []
        return ModelOutput(
            token_ids.tolist(),
            dict(zip(self._reported, sampled, strict=True)),
            dict(zip(self._seq_ids, reports, strict=True)),
            self._forward_seconds,
            self._input_seconds,
        )
