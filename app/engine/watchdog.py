"""Notices that an engine process no longer answers, though it should."""

from __future__ import annotations

MAX_INTERVAL = 1.0
"""Seconds between two looks at the engine."""

LOOKS_PER_LIMIT = 10


class Watchdog:
    """Adds up how long an answer is overdue, in time that this process saw pass: where the whole container was stopped,
    the engine was too, and is not to blame.
    """

    def __init__(self) -> None:
        self._overdue = 0.0
        self._last_sign: float | None = None

    def is_overdue(self, seconds: float, limit: float, sign: float | None) -> bool:
        """To be asked once an interval, `seconds` after the last time: whether it is longer than `limit` that the
        engine owes an answer. `sign` is the moment of its last sign of life; None while it owes nothing.
        """
        is_silent = sign is not None and sign == self._last_sign
        self._overdue = self._overdue + min(seconds, 2 * interval_of(limit)) if is_silent else 0.0
        self._last_sign = sign
        return self._overdue > limit


def interval_of(limit: float) -> float:
    """Seconds between two looks, where this is the time that is allowed."""
    return min(limit / LOOKS_PER_LIMIT, MAX_INTERVAL)
