"""Words of messages: short excerpts of what a client sent, since messages must not grow with it, and counts."""

from __future__ import annotations

MAX_SHOWN_CHARACTERS = 64
"""How much of one value or name from a request an error shows."""


def shortened(text: str) -> str:
    """`text`, cut off after `MAX_SHOWN_CHARACTERS`."""
    return cut(text, MAX_SHOWN_CHARACTERS)


def cut(text: str, max_characters: int) -> str:
    """The beginning of `text`, with an ellipsis if it is longer than `max_characters`."""
    return text if len(text) <= max_characters else text[:max_characters] + "…"


def counted(count: int, noun: str) -> str:
    """`1 token`, `1,024 tokens`: a number with its noun, which has a regular plural."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
