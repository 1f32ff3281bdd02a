"""Speculative decoding: draft tokens are appended to decoding rows, and verified by what the same step samples.

The token at a position is a function of the tokens before it and of the sequence's parameters, whether it is drawn or
greedy. So every position of a draft is sampled as it would have been anyway, and a draft is accepted as far as it
equals the samples. The output is exactly the same as without speculation. (Leviathan et al. 2023 need rejection
sampling, because they draw the draft from the distribution of another model.)
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from collections.abc import Sequence as Seq
from itertools import takewhile
from typing import Protocol

from app.scheduler.batch import ScheduledRow
from app.scheduler.block_pool import BlockPool
from app.scheduler.sequence import Sequence

MAX_ROWS = 8
"""Drafts fill a step up to this many times `step_cost` tokens. To pay beyond that, eight of nine draft tokens would
have to be right."""

MAX_FORCED_TOKENS = 63
"""Longest draft of tokens that a grammar forces: a row of a draft and the token before it is short beside a prompt."""


class Guide(Protocol):
    """What a grammar says about the next tokens of a sequence, all of whose tokens are known."""

    def forced(self, sequence: Sequence) -> Seq[int]:
        """The tokens that must follow. Often there are none."""
        ...

    def num_allowed(self, sequence: Sequence, draft: Seq[int]) -> int:
        """How many tokens of a draft may follow, one after the other."""
        ...


class Speculation:
    """Proposes and verifies drafts. They only use budget and blocks that are left over in a step, and keep no block
    that turns out not to be needed.

    `step_cost` is the fixed cost of a step (launching it, reading the weights), in tokens computed for the same price;
    it may be changed once it has been measured. With n rows, an accepted draft token saves its row's share of a step,
    `step_cost / n` tokens, and its own computation. 0 turns speculation off, but for what the `guides` of constrained
    sequences force.
    """

    def __init__(self, pool: BlockPool, block_size: int, step_cost: float) -> None:
        self._pool = pool
        self._block_size = block_size
        self.step_cost = step_cost
        self.guides: Mapping[Sequence, Guide] = {}

    @property
    def is_on(self) -> bool:
        return self.step_cost > 0

    def propose(self, rows: Collection[ScheduledRow], budget: int) -> None:
        """Append drafts to the rows that reach their sequence's last token, in the order given.

        First the tokens that a grammar forces: they are certain, and so they cost less than a step of their own. Then
        what the sequences' drafters propose, in equal shares. A draft ends before any stop token and before the last
        token allowed, so that only the token sampled after the accepted ones can end a sequence. `budget` is the number
        of tokens that the step may have in all.
        """
        if self.guides:
            self._propose_forced([row for row in rows if row.num_samples], budget - _num_tokens(rows))
        if self.is_on:
            left = min(budget, int(MAX_ROWS * self.step_cost)) - _num_tokens(rows)
            worth = 1 + self.step_cost / max(len(rows), 1)
            self._propose_likely([row for row in rows if row.num_samples and not row.draft], left, worth)

    def _propose_forced(self, rows: list[ScheduledRow], left: int) -> None:
        for row in rows:
            guide = self.guides.get(row.sequence)
            count = min(MAX_FORCED_TOKENS, left, self._room(row))
            if guide is not None and count > 0:
                forced = guide.forced(row.sequence)[:count]
                row.is_forced = self._append(row, _up_to_stop(forced, row.sequence.params.stop_token_ids))
                left -= len(row.draft)

    def _propose_likely(self, rows: list[ScheduledRow], left: int, worth: float) -> None:
        if left <= 0:
            return
        for num_rows_left, row in zip(range(len(rows), 0, -1), rows, strict=True):
            sequence = row.sequence
            count = sequence.drafter.num_paying(worth)
            if not count:
                continue
            count = min(count, -(-left // num_rows_left), self._room(row))
            draft = sequence.drafter.draft(sequence.token_ids, count, sequence.params.stop_token_ids)
            guide = self.guides.get(sequence) if draft and self.guides else None
            if guide is not None:
                draft = draft[: guide.num_allowed(sequence, draft)]
            self._append(row, draft)
            left -= len(draft)

    def _room(self, row: ScheduledRow) -> int:
        """The longest draft that the sequence may have and for which there are blocks."""
        sequence = row.sequence
        num_slots = (len(sequence.block_table) + self._pool.num_free) * self._block_size
        return min(num_slots - row.end, sequence.max_num_tokens - sequence.num_tokens - 1)

    def _append(self, row: ScheduledRow, draft: tuple[int, ...]) -> bool:
        """Append a draft with the blocks that it needs. False if it is empty."""
        if draft:
            row.append_draft(draft)
            table = row.sequence.block_table
            table.extend(self._pool.allocate(max(0, -(-row.end // self._block_size) - len(table))))
        return bool(draft)

    def verify(self, row: ScheduledRow, token_ids: list[int]) -> int:
        """Compare a row's draft with `token_ids`, sampled at its positions, and roll back the tokens that are rejected.

        Returns how many draft tokens are accepted. The samples after the first rejected one are to be discarded.
        """
        sequence = row.sequence
        accepted = takewhile(lambda pair: pair[0] == pair[1], zip(row.draft, token_ids, strict=False))
        num_accepted = sum(1 for _ in accepted)
        num_rejected = len(row.draft) - num_accepted
        sequence.num_computed_tokens -= num_rejected
        sequence.num_tokens -= num_rejected
        if not row.is_forced:
            sequence.drafter.learn(len(row.draft), num_accepted)
        num_kept = -(-sequence.num_computed_tokens // self._block_size)
        self._pool.release(sequence.block_table[num_kept:])
        del sequence.block_table[num_kept:]
        return num_accepted


def _num_tokens(rows: Collection[ScheduledRow]) -> int:
    return sum([row.num_tokens for row in rows])


def _up_to_stop(token_ids: Seq[int], stop_token_ids: Container[int]) -> tuple[int, ...]:
    return tuple(takewhile(lambda token_id: token_id not in stop_token_ids, token_ids))
