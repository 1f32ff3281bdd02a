"""What a step's samples came to, in the columns of `StepOutput`."""

from __future__ import annotations

from collections import Counter
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
        self._grown: list[Sequence] = []
        self.token_ids: list[int] = []
        self.logprobs: dict[int, TokenLogprobs] = {}
        self.finished = dict.fromkeys(expired, FinishReason.QUEUE_TIMEOUT)

    @property
    def seq_ids(self) -> list[int]:
        return [sequence.seq_id for sequence in self._grown]

    @property
    def num_tokens_of_owners(self) -> Counter[str]:
        return Counter([sequence.owner for sequence in self._grown])

    def take(self, sequence: Sequence, token_ids: list[int], begin: int) -> None:
        """Let a sequence grow by samples, whose indices start at `begin`. One that got no token ends with an error."""
        for index, token_id in enumerate(token_ids, begin):
            if token_id == NO_TOKEN:
                sequence.num_tokens -= 1
                sequence.finish_reason = FinishReason.ERROR
            else:
                if index in self._reported:
                    self.logprobs[len(self.token_ids)] = self._reported[index]
                sequence.append(token_id)
                self._grown.append(sequence)
                self.token_ids.append(token_id)
        if sequence.finish_reason is not None:
            self.finished[sequence.seq_id] = sequence.finish_reason
