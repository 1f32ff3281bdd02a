"""What a step's samples came to, in the columns of `StepOutput`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.messages import FinishReason, TokenLogprobs
from app.scheduler.batch import NO_TOKEN
from app.scheduler.sequence import Sequence


class Columns:
    """Filled sequence by sequence. `reported` has the logprobs of the model's output, by the index of the sample.
    `expired` sequences have ended already.
    """

    def __init__(self, reported: Mapping[int, TokenLogprobs], expired: Iterable[int]) -> None:
        self._reported = reported
        self.seq_ids: list[int] = []
        self.token_ids: list[int] = []
        self.logprobs: dict[int, TokenLogprobs] = {}
        self.finished = dict.fromkeys(expired, FinishReason.QUEUE_TIMEOUT)

    def take(self, sequence: Sequence, samples: Iterable[tuple[int, int]]) -> None:
        """Let a sequence grow by (index, token) samples. One that got no token ends with an error."""
        for index, token_id in samples:
            if token_id == NO_TOKEN:
                sequence.finish_reason = FinishReason.ERROR
            else:
                if index in self._reported:
                    self.logprobs[len(self.token_ids)] = self._reported[index]
                sequence.append(token_id)
                self.seq_ids.append(sequence.seq_id)
                self.token_ids.append(token_id)
        if sequence.finish_reason is not None:
            self.finished[sequence.seq_id] = sequence.finish_reason
