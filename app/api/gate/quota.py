"""What a key may use, as it is written and as it is counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

MIN_PRIORITY = -(2**31)

TOLERANCE = 1e-6
"""Of levels, which are sums of floating-point numbers: after its whole wait, a request must not lack a billionth."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits shared by all requests that come with keys of one name; None means unlimited.

    `concurrent_requests` counts sequences: a request has as many as its prompts times n. `min_priority` is the smallest
    `priority`, at most 0, that puts a request before those of other keys.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    min_priority: int = 0

    def but(self, limits: Mapping[str, int | None]) -> Quota:
        """The same where `limits`, by name, say nothing else."""
        return replace(self, **limits)  # type: ignore[arg-type]


LIMITS = tuple(field.name for field in fields(Quota))


def parse_limit(word: str) -> tuple[str, int | None]:
    """Read `tokens_per_minute=1000`, or `=none` for no limit. Raises ValueError that says what would be valid."""
    name, _, amount = word.partition("=")
    if name not in LIMITS:
        known = f"limits are {', '.join(LIMITS)}, written like {LIMITS[0]}=60"
        raise ValueError(f"{known}; a comment has a line of its own in the file of keys")
    if name == "min_priority":
        return name, _parse_priority(amount)
    if not re.fullmatch(r"none|0*[1-9]\d{0,11}", amount, re.ASCII):
        raise ValueError(f"{name} must be a number from 1 on, or none")
    return name, None if amount == "none" else int(amount)


def _parse_priority(amount: str) -> int:
    if not re.fullmatch(r"0|-[1-9]\d{0,9}", amount, re.ASCII) or int(amount) < MIN_PRIORITY:
        raise ValueError(f"min_priority must be a number from {MIN_PRIORITY} to 0")
    return int(amount)


class Bucket:
    """A token bucket: it holds what may be used in a minute, is full at first, and fills at that rate.

    Moments are seconds of any one clock. What is taken is what is expected to be used; the difference is given back by
    `take` of a negative amount, or taken too. The level may then fall below zero, and nothing may be used until that
    is made up for: over any time, use stays within the rate and one minute's amount.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """How much may be used now."""
        return min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)

    def take(self, amount: float, now: float) -> None:
        self._level, self._at = self.level(now) - amount, now

    def seconds_until(self, level: float, now: float) -> float:
        """How long it lasts until it is filled to this level, of at most `per_minute`; 0 if it is."""
        lacking = level - self.level(now)
        return lacking * 60 / self.per_minute if lacking > TOLERANCE else 0.0

    def resize(self, per_minute: int, now: float) -> None:
        """Another rate from now on, with the same share of it left."""
        level = self.level(now) * per_minute / self.per_minute
        self.per_minute, self._level, self._at = per_minute, level, now
