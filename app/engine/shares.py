"""How many sequences may be open at once, and how many of them of one owner."""

from __future__ import annotations

from collections import Counter

from app.engine.health import Overloaded

RETRY_AFTER = 1
SHARE = 8
"""An owner may have this many times the room that is left: alone eight ninths of all, and always less than all."""


class Shares:
    """Counts open sequences by owner, so that no owner takes all the room there is.

    Thresholds follow the room that is left (dynamic thresholds, Choudhury and Hahne 1998): many owners are each held to
    less, and somebody who comes late still finds a place. The nameless owner "" has all to itself.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: dict[int, str] = {}
        self._num_open: Counter[str] = Counter()

    def check(self, owner: str) -> None:
        """Raise Overloaded if this owner may not open a sequence now."""
        room = self._limit - len(self._owners)
        if room <= 0:
            raise Overloaded(f"{self._limit} sequences are running or queued already", RETRY_AFTER)
        num_open = self._num_open[owner]
        if owner and num_open and num_open >= SHARE * (room - 1):
            share = f"{num_open} sequences of this key are running or queued; the rest of the queue is kept for others"
            raise Overloaded(share, RETRY_AFTER)

    def opened(self, seq_id: int, owner: str) -> None:
        self._owners[seq_id] = owner
        self._num_open[owner] += 1

    def ended(self, seq_id: int) -> None:
        self._num_open[self._owners.pop(seq_id)] -= 1
