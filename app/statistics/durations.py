"""Percentiles of recent durations, kept as counts in buckets, so that the cost is independent of their number."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence as Seq
from math import floor, log, sqrt

GROWTH = 1.05
"""Ratio of the lower bounds of two adjacent buckets: a percentile is accurate to half of that, 2.5 %."""

MIN_SECONDS = 1e-6
"""Anything shorter counts as this."""

_LOG_GROWTH = log(GROWTH)
_MIDDLE = sqrt(GROWTH)


class SlidingDurations:
    """Counts durations in buckets of a fixed relative width (DDSketch: Masson et al. 2019), over a sliding window.

    The window consists of at most `num_slots` slots. Observations go into the newest one; `turn` starts the next, and
    drops the oldest.
    """

    def __init__(self, num_slots: int) -> None:
        self._slots: deque[Counter[int]] = deque([Counter()], maxlen=num_slots)

    def observe(self, seconds: float, count: int = 1) -> None:
        self._slots[-1][floor(log(max(seconds, MIN_SECONDS)) / _LOG_GROWTH)] += count

    def turn(self) -> None:
        self._slots.append(Counter())

    def percentiles(self, fractions: Seq[float]) -> list[float | None]:
        """The seconds below which these fractions (0 to 1, ascending) of the window's durations lie; None if empty."""
        total: Counter[int] = Counter()
        for slot in self._slots:
            total.update(slot)
        found: list[float | None] = []
        buckets, below = iter(sorted(total)), 0
        seconds = None
        for fraction in fractions:
            while below < fraction * total.total():
                bucket = next(buckets)
                below += total[bucket]
                seconds = GROWTH**bucket * _MIDDLE
            found.append(seconds)
        return found
