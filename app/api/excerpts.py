"""Short excerpts of what a client sent, for messages that must not grow with it."""

from __future__ import annotations

MAX_SHOWN_CHARACTERS = 64
"""How much of one value or name from a request an error shows."""


def shortened(text: str) -> str:
    """`text`, cut off after `MAX_SHOWN_CHARACTERS`."""
    return cut(text, MAX_SHOWN_CHARACTERS)


def cut(text: str, max_characters: int) -> str:
    """The beginning of `text`, with an ellipsis if it is longer than `max_characters`."""
    return text if len(text) <= max_characters else text[:max_characters] + "…"
