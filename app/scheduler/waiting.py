"""Sequences that wait, in the order in which they may go: by precedence, then the least served owner, then arrival."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from heapq import merge
from itertools import takewhile
from math import inf

from app.scheduler.sequence import Sequence

MAX_TIMES_PASSED = 64
"""A waiting sequence that does not fit may be passed by this many smaller ones; then admission waits for it."""

MAX_LOOKAHEAD = 16
"""How many waiting sequences that do not fit one step looks past."""

OUTPUT_WEIGHT = 2
"""What an output token counts among prompt tokens, of which many are computed at once."""


class WaitingQueue:
    """A queue for each owner, and the count of what each owner has been served, in prompt tokens.

    Among owners the least served goes first, and one who comes back after a pause is lifted to where those stand who
    stayed, so that nobody can save up (virtual token counters: Sheng et al. 2024). With one owner there is only
    priority and arrival.
    """

    def __init__(self) -> None:
        self._queues: dict[str, list[Sequence]] = {}
        self._served: dict[str, float] = {}
        self._last_owner = ""
        self._impatient: dict[int, Sequence] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[Sequence]:
        """The queues merged, each owner's sequences in the order of its queue."""
        return merge(*self._queues.values(), key=lambda s: s.order)

    def served(self, owner: str) -> float:
        return self._served.get(owner, 0.0)

    def charge(self, owner: str, num_prompt_tokens: int = 0, num_output_tokens: int = 0) -> None:
        """Count what is computed for an owner."""
        self._served[owner] = self.served(owner) + num_prompt_tokens + OUTPUT_WEIGHT * num_output_tokens

    def arrive(self, sequence: Sequence) -> None:
        """Take a new sequence. An owner of whom nothing waited goes just before those that it is lifted to."""
        owner = sequence.owner
        if owner not in self._queues:
            others = map(self.served, self._queues)
            self._served[owner] = max(self.served(owner), min(others, default=self.served(self._last_owner)) - 1)
        self.put(sequence)
        if sequence.deadline < inf:
            self._impatient[sequence.seq_id] = sequence

    def overdue(self, now: float) -> list[int]:
        """The ids of those that have never left the queue and whose deadline has come; deadlines come in order.

        A preempted sequence has left it before, and waits as long as it must.
        """
        return [s.seq_id for s in takewhile(lambda s: s.deadline <= now, self._impatient.values())]

    def put(self, sequence: Sequence) -> None:
        """Take a sequence to its place in the order, new or preempted."""
        insort(self._queues.setdefault(sequence.owner, []), sequence, key=lambda s: s.own_order)

    def remove(self, sequence: Sequence) -> None:
        queue = self._queues[sequence.owner]
        queue.remove(sequence)
        if not queue:
            del self._queues[sequence.owner]
        self._last_owner = sequence.owner
        self._impatient.pop(sequence.seq_id, None)

    def first_behind(self, passed: Seq[Sequence]) -> Sequence | None:
        """Who goes next after those that do not fit; None if there is nobody, or one of them can be passed no more.

        `passed` are those that this gave before, in that order.
        """
        if len(passed) > MAX_LOOKAHEAD or any(sequence.times_passed >= MAX_TIMES_PASSED for sequence in passed):
            return None
        num_passed = Counter(sequence.owner for sequence in passed)
        heads = (queue[num_passed[owner]] for owner, queue in self._queues.items() if num_passed[owner] < len(queue))
        return min(heads, key=self.rank, default=None)

    def rank(self, sequence: Sequence) -> tuple[int, float, int]:
        """Of the first of each owner: smaller goes first."""
        return sequence.precedence, self.served(sequence.owner), sequence.arrival

    def turn(self, sequence: Sequence) -> tuple[int, float, str, tuple[int, int]]:
        """Of several of each owner: smaller goes first. Where two owners are level, no priority of theirs decides."""
        return sequence.precedence, self.served(sequence.owner), sequence.owner, sequence.own_order
