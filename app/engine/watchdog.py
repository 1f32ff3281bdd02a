"""Notices when the engine process owes an answer and stays silent."""

from __future__ import annotations

MAX_INTERVAL = 1.0
"""Longest time between two checks, in seconds."""

CHECKS_PER_LIMIT = 10


class Watchdog:
    """Adds up how long the engine has been silent while it owed an answer.

    Only time that this process itself was running counts: if the whole container was suspended, so was the engine.
    """

    def __init__(self) -> None:
        self._overdue = 0.0
        self._last_sign: float | None = None

    def is_overdue(self, seconds: float, limit: float, sign: float | None) -> bool:
        """Whether the engine has owed an answer for more than `limit` seconds.

        To be called once per interval, `seconds` after the previous call. `sign` is the moment of the engine's last
        sign of life, None while it owes nothing.
        """
        is_silent = sign is not None and sign == self._last_sign
        self._overdue = self._overdue + min(seconds, 2 * interval_of(limit)) if is_silent else 0.0
        self._last_sign = sign
        return self._overdue > limit


def interval_of(limit: float) -> float:
    """Seconds between two checks of a limit in seconds."""
    return min(limit / CHECKS_PER_LIMIT, MAX_INTERVAL)
