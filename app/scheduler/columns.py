"""What a step's samples came to, in the columns of `StepOutput`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from app.messages import FinishReason, TokenLogprobs
from app.scheduler.batch import NO_TOKEN, ModelOutput
from app.scheduler.sequence import Sequence


class Columns:
    """Filled sequence by sequence. `expired` sequences have ended already."""

    def __init__(self, output: ModelOutput, expired: Iterable[int]) -> None:
        self._output = output
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

    def take(self, sequence: Sequence, begin: int, end: int) -> None:
        """Let a sequence grow by the samples `begin` to `end`. One that got no token ends with an error."""
        reported = self._output.logprobs
        for index in range(begin, end):
            token_id = self._output.token_ids[index]
            if token_id == NO_TOKEN:
                sequence.num_tokens -= 1
                sequence.finish_reason = FinishReason.ERROR
            else:
                if index in reported:
                    self.logprobs[len(self.token_ids)] = reported[index]
                sequence.append(token_id)
                self._grown.append(sequence)
                self.token_ids.append(token_id)
        if sequence.finish_reason is not None:
            self.finished[sequence.seq_id] = sequence.finish_reason
