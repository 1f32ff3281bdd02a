"""How many sequences may be open at once, and how many of them of one owner."""

from __future__ import annotations

from collections import Counter

from app.engine.health import Overloaded

RETRY_AFTER = 1
SHARE = 8
"""An owner may have this many times the room that is left: alone eight ninths of all, and always less than all."""


class QueueQuota:
    """Counts open sequences by owner, so that no owner takes all the room there is.

    Thresholds follow the room that is left (dynamic thresholds, Choudhury and Hahne 1998): many owners are each held to
    less, and somebody who comes late still finds a place. The nameless owner "" has all to itself.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: dict[int, str] = {}
        self._num_open: Counter[str] = Counter()

    def check(self, owner: str, count: int = 1) -> None:
        """Raise Overloaded if this owner may not open so many sequences now, one after the other."""
        num_all, num_open = len(self._owners), self._num_open[owner]
        room = self._limit - num_all - count
        if room < 0:
            raise Overloaded(f"{num_all} sequences are running or queued, of at most {self._limit}", RETRY_AFTER)
        num_before_last = num_open + count - 1
        if owner and num_before_last and num_before_last >= SHARE * room:
            share = f"{num_open} sequences of this key are running or queued; the rest of the queue is kept for others"
            raise Overloaded(share, RETRY_AFTER)

    def opened(self, seq_id: int, owner: str) -> None:
        self._owners[seq_id] = owner
        self._num_open[owner] += 1

    def ended(self, seq_id: int) -> None:
        self._num_open[self._owners.pop(seq_id)] -= 1
