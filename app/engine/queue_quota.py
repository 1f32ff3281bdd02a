"""The queue quota: how many sequences may be open at once, in all and for one owner."""

from __future__ import annotations

from collections import Counter

from app.engine.health import Overloaded, QueueShareUsed

RETRY_AFTER = 1
"""Seconds."""

OWNER_FACTOR = 8
"""An owner may have this many times as many sequences as there is room left: alone, eight ninths of the limit."""


class QueueQuota:
    """Counts open sequences by owner, so that no owner can occupy the whole queue.

    An owner's quota is proportional to the room that is left (dynamic thresholds, Choudhury and Hahne 1998): the more
    owners there are, the less each of them gets, and a newcomer always finds room. The anonymous owner "" has no quota
    of its own and may use the whole `limit`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: dict[int, str] = {}
        self._num_open: Counter[str] = Counter()

    def check(self, owner: str, count: int = 1) -> None:
        """Raise Overloaded unless this owner may open `count` sequences now, one after another."""
        num_all, num_open = len(self._owners), self._num_open[owner]
        room = self._limit - num_all - count
        if room < 0:
            message = (
                f"The queue is full: limit {self._limit} sequences (max_num_seqs + max_queue), running or queued "
                f"{num_all}, requested {count}. Try again when others have ended."
            )
            raise Overloaded(message, RETRY_AFTER)
        num_before_last = num_open + count - 1
        if owner and num_before_last and num_before_last >= OWNER_FACTOR * room:
            message = (
                f"This key has its share of the queue: sequences running or queued {num_open}, requested {count}; the "
                "rest of the queue (max_queue) is kept for other keys. Try again when some of yours have ended."
            )
            raise QueueShareUsed(message, RETRY_AFTER)

    def opened(self, seq_id: int, owner: str) -> None:
        self._owners[seq_id] = owner
        self._num_open[owner] += 1

    def ended(self, seq_id: int) -> None:
        self._num_open[self._owners.pop(seq_id)] -= 1
