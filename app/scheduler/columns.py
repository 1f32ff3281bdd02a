"""The columns of a `StepOutput`, filled from what a step sampled."""

from __future__ import annotations

from collections import Counter

from app.messages import FinishReason, StepOutput, StepStats, TokenLogprobs
from app.scheduler.batch import END_OF_GRAMMAR, NO_TOKEN, ModelOutput, ScheduledBatch
from app.scheduler.sequence import Sequence

ENDS = {NO_TOKEN: FinishReason.ERROR, END_OF_GRAMMAR: FinishReason.STOP}
"""Why a sequence ends that gets none of the model's tokens."""


class Columns:
    """Appends sampled tokens to their sequences, one sequence after another, and collects them in columns."""

    def __init__(self, batch: ScheduledBatch, output: ModelOutput) -> None:
        self._batch = batch
        self._output = output
        self._grown: list[Sequence] = []
        self._token_ids: list[int] = []
        self._logprobs: dict[int, TokenLogprobs] = {}
        self._finished = dict(batch.admission.ended)

    @property
    def num_tokens_of_owners(self) -> Counter[str]:
        return Counter([sequence.owner for sequence in self._grown])

    def take(self, sequence: Sequence, begin: int, end: int) -> None:
        """Append samples `begin` to `end` to a sequence. One that gets no token ends: see `ENDS`."""
        reported = self._output.logprobs
        for index in range(begin, end):
            token_id = self._output.token_ids[index]
            if token_id in ENDS:
                sequence.num_tokens -= 1
                sequence.finish_reason = ENDS[token_id]
            else:
                if index in reported:
                    self._logprobs[len(self._token_ids)] = reported[index]
                sequence.append(token_id)
                self._grown.append(sequence)
                self._token_ids.append(token_id)
        if sequence.finish_reason is not None:
            self._finished[sequence.seq_id] = sequence.finish_reason

    def as_output(self, stats: StepStats) -> StepOutput:
        return StepOutput(
            seq_ids=[sequence.seq_id for sequence in self._grown],
            token_ids=self._token_ids,
            finished=self._finished,
            stats=stats,
            logprobs=self._logprobs,
            prompt_logprobs=self._output.prompt_logprobs,
            admitted=self._batch.admission.admitted,
            preempted=tuple(self._batch.preempted),
        )
