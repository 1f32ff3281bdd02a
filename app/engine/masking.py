"""Masks are computed in a thread while the model computes the logits that they are for."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from app.constraints.errors import MatcherError
from app.constraints.masks import MaskRequest, Masks
from app.constraints.tokens import WORD_BITS
from app.engine.constraints import Constraints, Guide
from app.scheduler.batch import END_OF_GRAMMAR, ModelOutput, ScheduledBatch, ScheduledRow

if TYPE_CHECKING:
    from app.engine.core import Execution


class MaskableRunner(Protocol):
    """A `Runner` that heeds masks."""

    def execute(self, batch: ScheduledBatch, masks: StepMasks | None = None) -> Execution: ...


class GuidedRow(NamedTuple):
    """A row of a constrained sequence, the first of its samples in the step, and its first mask."""

    row: ScheduledRow
    guide: Guide
    sample: int
    mask: int


class StepMasks:
    """The masks of one step, which are being computed. `rows` are the samples that they are for.

    `ended` are the samples at which nothing can follow; it is known once the masks are.
    """

    def __init__(self, guided: Seq[GuidedRow], masks: Future[Masks], ended: list[int]) -> None:
        self.rows = [each.sample + i for each in guided for i in range(each.row.num_samples)]
        self.ended = ended
        self._masks = masks

    def wait(self) -> Masks:
        return self._masks.result()


@dataclass
class MaskedExecution:
    """Puts `END_OF_GRAMMAR` where nothing could be sampled because the answer is whole."""

    execution: Execution
    ended: list[int]
    output: ModelOutput | None = None

    def wait(self) -> ModelOutput:
        if self.output is None:
            self.output = self.execution.wait()
            for index in self.ended:
                self.output.token_ids[index] = END_OF_GRAMMAR
        return self.output


class MaskingRunner:
    """Gives a runner the masks of constrained rows.

    Where steps overlap, the last token of a row is known when the previous step has been computed: the thread waits for
    that, while the forward pass is launched already.
    """

    def __init__(self, runner: MaskableRunner, constraints: Constraints) -> None:
        self._runner = runner
        self._constraints = constraints
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")
        self._previous: tuple[ScheduledBatch, Execution] | None = None

    def execute(self, batch: ScheduledBatch) -> Execution:
        guided = self._guided_rows(batch) if self._constraints.guides else []
        if not guided:
            self._previous = None
            return self._runner.execute(batch)
        ended: list[int] = []
        masks = self._thread.submit(self._compute, guided, self._previous, ended)
        execution = MaskedExecution(self._runner.execute(batch, StepMasks(guided, masks, ended)), ended)
        self._previous = batch, execution
        return execution

    def _guided_rows(self, batch: ScheduledBatch) -> list[GuidedRow]:
        guides = {sequence.seq_id: guide for sequence, guide in self._constraints.guides.items()}
        guided, sample, mask = [], 0, 0
        for row in batch.rows:
            guide = guides.get(row.sequence.seq_id)
            if guide is not None and row.num_samples:
                guided.append(GuidedRow(row, guide, sample, mask))
                mask += row.num_samples
            sample += row.num_samples
        return guided

    def _compute(
        self, guided: list[GuidedRow], previous: tuple[ScheduledBatch, Execution] | None, ended: list[int]
    ) -> Masks:
        """All masks of a step; where nothing may be sampled they are empty. Adds to `ended`."""
        num_rows = sum(each.row.num_samples for each in guided)
        masks = np.zeros((num_rows, self._constraints.table.num_words), dtype=np.int32)
        unknown = _tokens_of(previous) if any(each.row.ends_unknown for each in guided) else {}
        requests = {each.mask: each for each in guided if _catches_up(each, unknown)}
        errors = self._constraints.filler.fill(
            [MaskRequest(each.guide.matcher, mask, each.row.draft) for mask, each in requests.items()], masks
        )
        for mask, error in errors.items():
            requests[mask].guide.give_up(requests[mask].row.sequence.seq_id, error)
            _rows_of(requests[mask], masks).fill(0)
        for mask in requests.keys() - errors.keys():
            ended += _find_ended(requests[mask], _rows_of(requests[mask], masks))
        return masks


def _tokens_of(step: tuple[ScheduledBatch, Execution] | None) -> dict[int, int]:
    """What a step sampled last of each sequence, by its id. Waits for it."""
    if step is None:
        return {}
    batch, execution = step
    seq_ids = [row.sequence.seq_id for row in batch.rows for _ in range(row.num_samples)]
    return dict(zip(seq_ids, execution.wait().token_ids, strict=True))


def _catches_up(each: GuidedRow, unknown: dict[int, int]) -> bool:
    """Bring the guide to the row's last token. False if there is nothing to mask: the sequence ends, or has ended."""
    sequence = each.row.sequence
    last = (unknown[sequence.seq_id],) if each.row.ends_unknown else ()
    if any(token_id < 0 for token_id in last):
        return False
    try:
        each.guide.catch_up(sequence, last)
    except MatcherError as error:
        each.guide.give_up(sequence.seq_id, error)
        return False
    return True


def _rows_of(each: GuidedRow, masks: Masks) -> Masks:
    return masks[each.mask : each.mask + each.row.num_samples]


def _find_ended(each: GuidedRow, masks: Masks) -> list[int]:
    """The samples of a row at which the answer is whole and no token may follow.

    That is so at the end of a grammar if no stop token can be sampled: there is none, or `min_tokens` forbids it. The
    constraint comes first: the sequence ends with fewer tokens than were asked for, rather than with an error.
    """
    params, matcher = each.row.sequence.params, each.guide.matcher
    first = each.row.end - len(each.row.draft) - each.row.sequence.num_prompt_tokens
    ended = []
    for index, mask in enumerate(masks):
        if matcher.stop_token_ids and first + index >= params.min_tokens:
            continue
        for word, bit in (divmod(token_id, WORD_BITS) for token_id in matcher.stop_token_ids):
            mask.view(np.uint32)[word] &= np.uint32(~(1 << bit) & 0xFFFFFFFF)
        if not mask.any():
            ended.append(each.sample + index)
    return ended
