"""The queue of waiting sequences: by precedence, then the least served owner, then arrival."""

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
"""A waiting sequence that does not fit may be passed over for this many smaller ones; then admission waits for it."""

MAX_LOOKAHEAD = 16
"""How many waiting sequences that do not fit one step may pass over."""

OUTPUT_WEIGHT = 2
"""Cost of an output token, in prompt tokens, which are cheaper because many are computed at once."""


class WaitingQueue:
    """One queue per owner, and a counter of the service that each owner has received, in prompt tokens.

    The least served owner goes first. The counter of an owner who returns after a pause is raised to those of the
    owners who stayed, so that nobody can save up service (virtual token counter: Sheng et al. 2024). With a single
    owner only priority and arrival matter.
    """

    def __init__(self) -> None:
        self._queues: dict[str, list[Sequence]] = {}
        self._served: dict[str, float] = {}
        self._last_owner = ""
        self._impatient: dict[int, Sequence] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[Sequence]:
        """All waiting sequences: the queues merged, each owner's sequences in the order of its queue."""
        return merge(*self._queues.values(), key=lambda s: s.order)

    def served(self, owner: str) -> float:
        return self._served.get(owner, 0.0)

    def charge(self, owner: str, num_prompt_tokens: int = 0, num_output_tokens: int = 0) -> None:
        """Add to an owner's counter what is computed for it."""
        self._served[owner] = self.served(owner) + num_prompt_tokens + OUTPUT_WEIGHT * num_output_tokens

    def arrive(self, sequence: Sequence) -> None:
        """Queue a new sequence. The counter of an owner that had none waiting is raised to just below the lowest one
        of those that had.
        """
        owner = sequence.owner
        if owner not in self._queues:
            others = map(self.served, self._queues)
            self._served[owner] = max(self.served(owner), min(others, default=self.served(self._last_owner)) - 1)
        self.put(sequence)
        if sequence.deadline < inf:
            self._impatient[sequence.seq_id] = sequence

    def overdue(self, now: float) -> list[int]:
        """The ids of the sequences that have never left the queue and whose deadline has passed; relies on ascending
        deadlines.

        A preempted sequence has left the queue before, and waits for as long as it has to.
        """
        return [s.seq_id for s in takewhile(lambda s: s.deadline <= now, self._impatient.values())]

    def put(self, sequence: Sequence) -> None:
        """Insert a new or preempted sequence at its place in its owner's order."""
        insort(self._queues.setdefault(sequence.owner, []), sequence, key=lambda s: s.own_order)

    def remove(self, sequence: Sequence) -> None:
        queue = self._queues[sequence.owner]
        queue.remove(sequence)
        if not queue:
            del self._queues[sequence.owner]
        self._last_owner = sequence.owner
        self._impatient.pop(sequence.seq_id, None)

    def first_behind(self, passed: Seq[Sequence]) -> Sequence | None:
        """The next sequence after those that do not fit. None if there is none, or if one of those may not be passed
        over again.

        `passed` are the results of the previous calls, in order.
        """
        if len(passed) > MAX_LOOKAHEAD or any(sequence.times_passed >= MAX_TIMES_PASSED for sequence in passed):
            return None
        num_passed = Counter(sequence.owner for sequence in passed)
        heads = (queue[num_passed[owner]] for owner, queue in self._queues.items() if num_passed[owner] < len(queue))
        return min(heads, key=self.rank, default=None)

    def rank(self, sequence: Sequence) -> tuple[int, float, int]:
        """Rank among the first sequences of all owners; smaller goes first."""
        return sequence.precedence, self.served(sequence.owner), sequence.arrival

    def turn(self, sequence: Sequence) -> tuple[int, float, str, tuple[int, int]]:
        """Rank among several sequences of each owner; smaller goes first. Between two equally served owners, the
        priorities that they chose themselves have no influence.
        """
        return sequence.precedence, self.served(sequence.owner), sequence.owner, sequence.own_order
