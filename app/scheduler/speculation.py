"""Speculative decoding: rows that decode are lengthened by guessed tokens, which the same step proves right or wrong.

The token at a position follows from the tokens before it and the sequence's parameters alone, drawn or greedy. So
each guessed position is sampled as it would have been anyway, and guesses are right while they equal what was sampled:
nothing is lost (Leviathan et al. 2023 need rejection sampling, since they draw the draft from another model).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile

from app.scheduler.batch import ScheduledRow
from app.scheduler.block_pool import BlockPool

MAX_ROWS = 8
"""Drafts fill a step up to this many times `step_cost`; beyond, eight of nine guesses would have to be right to pay."""


class Speculation:
    """Takes only tokens and blocks that nobody wants in this step, and keeps none that were not needed.

    `step_cost` is what a step costs beside its tokens (launching it, reading the weights), in tokens computed; whoever
    has measured it may change it. With n rows, a token that was guessed right saves a row's share of a step,
    `step_cost / n` tokens, and its own. 0 turns speculation off.
    """

    def __init__(self, pool: BlockPool, block_size: int, step_cost: float) -> None:
        self._pool = pool
        self._block_size = block_size
        self.step_cost = step_cost

    @property
    def is_on(self) -> bool:
        return self.step_cost > 0

    def propose(self, rows: Collection[ScheduledRow], budget: int) -> None:
        """Put drafts behind the rows that reach their last token, in the order given and in equal shares.

        A draft ends before a stop token and before the last token allowed, so that only the token sampled after all
        that was accepted can end a sequence. `budget`: tokens that the step may have in all.
        """
        at_the_end = [row for row in rows if row.num_samples]
        if not self.is_on or not at_the_end:
            return
        left = min(budget, int(MAX_ROWS * self.step_cost)) - sum(row.num_tokens for row in rows)
        if left <= 0:
            return
        worth = 1 + self.step_cost / len(rows)
        for num_rows_left, row in zip(range(len(at_the_end), 0, -1), at_the_end, strict=True):
            sequence = row.sequence
            count = sequence.drafter.num_paying(worth)
            if not count:
                continue
            room = (len(sequence.block_table) + self._pool.num_free) * self._block_size - row.end
            count = min(count, -(-left // num_rows_left), room, sequence.max_num_tokens - sequence.num_tokens - 1)
            draft = sequence.drafter.draft(sequence.token_ids, count, sequence.params.stop_token_ids)
            if draft:
                row.append_draft(draft)
                num_new_blocks = max(0, -(-row.end // self._block_size) - len(sequence.block_table))
                sequence.block_table.extend(self._pool.allocate(num_new_blocks))
                left -= len(draft)

    def verify(self, row: ScheduledRow, token_ids: list[int]) -> int:
        """Take back what was computed for wrong guesses, and its blocks, by the tokens sampled in their places.

        Returns how many guesses were right; the samples behind the first wrong one are worth nothing.
        """
        sequence = row.sequence
        right = takewhile(lambda pair: pair[0] == pair[1], zip(row.draft, token_ids, strict=False))
        num_right = sum(1 for _ in right)
        num_wrong = len(row.draft) - num_right
        sequence.num_computed_tokens -= num_wrong
        sequence.num_tokens -= num_wrong
        sequence.drafter.learn(len(row.draft), num_right)
        num_kept = -(-sequence.num_computed_tokens // self._block_size)
        self._pool.release(sequence.block_table[num_kept:])
        del sequence.block_table[num_kept:]
        return num_right
