"""Durations of the last while, kept as counts, so that a percentile costs the same however many there were."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence as Seq
from math import floor, log, sqrt

GROWTH = 1.05
"""Each bucket begins this much later than the one before it: a percentile is right to half of that, 2.5 %."""

SHORTEST = 1e-6
"""Seconds; what is shorter counts as this."""

_LOG_GROWTH = log(GROWTH)
_MIDDLE = sqrt(GROWTH)


class SlidingDurations:
    """Counts in buckets of a fixed relative width (DDSketch: Masson et al. 2019), in slots of which the oldest go.

    What is observed goes into the newest slot; `turn` begins the next. At most `num_slots` are kept.
    """

    def __init__(self, num_slots: int) -> None:
        self._slots: deque[Counter[int]] = deque([Counter()], maxlen=num_slots)

    def observe(self, seconds: float, count: int = 1) -> None:
        self._slots[-1][floor(log(max(seconds, SHORTEST)) / _LOG_GROWTH)] += count

    def turn(self) -> None:
        self._slots.append(Counter())

    def percentiles(self, shares: Seq[float]) -> list[float | None]:
        """Seconds below which these shares of all that is kept lie, in rising order of shares; None of nothing."""
        total: Counter[int] = Counter()
        for slot in self._slots:
            total.update(slot)
        found: list[float | None] = []
        buckets, below = iter(sorted(total)), 0
        seconds = None
        for share in shares:
            while below < share * total.total():
                bucket = next(buckets)
                below += total[bucket]
                seconds = GROWTH**bucket * _MIDDLE
            found.append(seconds)
        return found
