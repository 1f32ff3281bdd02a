"""What a key may use, as it is written in a setting or in the file of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

MIN_PRIORITY = -(2**31)


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
        """A copy with these limits, by name, replaced."""
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
