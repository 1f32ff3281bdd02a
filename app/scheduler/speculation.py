"""Speculative decoding: draft tokens are appended to decoding rows, and verified by what the same step samples.

The token at a position is a function of the tokens before it and of the sequence's parameters, whether it is drawn or
greedy. So every position of a draft is sampled as it would have been anyway, and a draft is accepted as far as it
equals the samples. The output is exactly the same as without speculation. (Leviathan et al. 2023 need rejection
sampling, because they draw the draft from the distribution of another model.)
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile

from app.scheduler.batch import ScheduledRow
from app.scheduler.block_pool import BlockPool

MAX_ROWS = 8
"""Drafts fill a step up to this many times `step_cost` tokens. To pay beyond that, eight of nine draft tokens would
have to be right."""


class Speculation:
    """Proposes and verifies drafts. They only use budget and blocks that are left over in a step, and keep no block
    that turns out not to be needed.

    `step_cost` is the fixed cost of a step (launching it, reading the weights), in tokens computed for the same price;
    it may be changed once it has been measured. With n rows, an accepted draft token saves its row's share of a step,
    `step_cost / n` tokens, and its own computation. 0 turns speculation off.
    """

    def __init__(self, pool: BlockPool, block_size: int, step_cost: float) -> None:
        self._pool = pool
        self._block_size = block_size
        self.step_cost = step_cost

    @property
    def is_on(self) -> bool:
        return self.step_cost > 0

    def propose(self, rows: Collection[ScheduledRow], budget: int) -> None:
        """Append drafts to the rows that reach their sequence's last token, in the order given and in equal shares.

        A draft ends before any stop token and before the last token allowed, so that only the token sampled after the
        accepted ones can end a sequence. `budget` is the number of tokens that the step may have in all.
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
        """Compare a row's draft with `token_ids`, sampled at its positions, and roll back the tokens that are rejected.

        Returns how many draft tokens are accepted. The samples after the first rejected one are to be discarded.
        """
        sequence = row.sequence
        accepted = takewhile(lambda pair: pair[0] == pair[1], zip(row.draft, token_ids, strict=False))
        num_accepted = sum(1 for _ in accepted)
        num_rejected = len(row.draft) - num_accepted
        sequence.num_computed_tokens -= num_rejected
        sequence.num_tokens -= num_rejected
        sequence.drafter.learn(len(row.draft), num_accepted)
        num_kept = -(-sequence.num_computed_tokens // self._block_size)
        self._pool.release(sequence.block_table[num_kept:])
        del sequence.block_table[num_kept:]
        return num_accepted
