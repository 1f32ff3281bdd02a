"""A token bucket: how much of a limit per minute is left."""

from __future__ import annotations

TOLERANCE = 1e-6
"""For levels, which are sums of floating-point numbers: a request that has waited long enough must not be refused for a
billionth."""


class Bucket:
    """Holds what may be used in a minute, starts full, and fills at that rate.

    Times are seconds of any one clock. What is taken is what a request is expected to use; the difference is given back
    by taking a negative amount, or taken later. The level may therefore fall below zero, and nothing may be used until
    that is made up for: over any period, use stays within the rate plus one minute's amount.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """How much may be used now."""
        return min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)

    def take(self, amount: float, now: float) -> None:
        """Lower the level by `amount`, however low it is."""
        self._level, self._at = self.level(now) - amount, now

    def seconds_until(self, level: float, now: float) -> float:
        """How long it takes to fill up to `level`, which is at most `per_minute`; 0 if it is that full."""
        lacking = level - self.level(now)
        return lacking * 60 / self.per_minute if lacking > TOLERANCE else 0.0

    def resize(self, per_minute: int, now: float) -> None:
        """Change the rate, keeping the fraction that is left."""
        level = self.level(now) * per_minute / self.per_minute
        self.per_minute, self._level, self._at = per_minute, level, now
