"""How many values a body has, wherever they hide: each costs microseconds, in which no stream goes on."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticCustomError

from app.api.openai.schemas.base import refusal

MAX_VALUES = 1 << 15
"""In the lists and objects of a body, all together; token ids of prompts do not count, for the model limits those."""

PARSED_LATER = "arguments"
"""The field whose text is JSON itself: what a function was called with. It counts as what it will be parsed to."""


def too_many_before_parsing(text: bytes) -> PydanticCustomError | None:
    """The refusal of a body of so many lists, objects or strings that to parse it would take long; else None."""
    if _fewest_values(text, counts_commas=False) <= 2 * MAX_VALUES:  # it is soon parsed, and then the field is known
        return None
    return refusal("too_many_values", f"The body has more values than the {MAX_VALUES} allowed.")


def too_many_values(body: Any) -> PydanticCustomError | None:
    """The refusal of a parsed body with more than `MAX_VALUES`, by the field that goes beyond it; else None."""
    room = MAX_VALUES
    for name, value in body.items() if isinstance(body, dict) else ():
        room -= 1 + (_num_prompts(value) if name == "prompt" else _num_values(value, room))
        if room < 0:
            return refusal("too_many_values", f"'{name}' has more values than the {MAX_VALUES} allowed.", name)
    return None


def _num_prompts(prompt: Any) -> int:
    """In a list of prompts; the token ids of one are not counted."""
    return len(prompt) if isinstance(prompt, list) and not set(map(type, prompt)) <= {int} else 0


def _num_values(value: Any, most: int) -> int:
    """How many values the lists, objects and texts of JSON in `value` have, all together, or a number over `most`."""
    count, unseen = 0, [value]
    while unseen and count <= most:
        each = unseen.pop()
        if not isinstance(each, list | dict):
            continue
        count += len(each)
        if isinstance(each, list):
            unseen += each if count <= most else ()
            continue
        unseen += each.values() if count <= most else ()
        if isinstance(text := each.get(PARSED_LATER), str):
            count += _fewest_values(text.encode(), counts_commas=True)
    return count


def _fewest_values(text: bytes, counts_commas: bool) -> int:
    """JSON has at least so many values, and at most some four times as many; numbers in lists only if they are counted.

    What stands in strings does not count. The passes over the text are C's: milliseconds for the largest body.
    """
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    if (fewest := unescaped.count(b'"') // 4) > 2 * MAX_VALUES:  # two quotes a string, and a name beside a value
        return fewest
    structure = b"".join(unescaped.split(b'"')[::2])
    num_containers = structure.count(b"[") + structure.count(b"{")
    return max(num_containers - 1, structure.count(b":"), structure.count(b",") if counts_commas else 0)
