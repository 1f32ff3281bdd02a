"""Bounds the number of values in a body, at any depth: each takes microseconds to check, and delays every stream."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticCustomError

from app.api.wire.request_model import refusal

MAX_VALUES = 1 << 15
"""In all lists and objects of a body together. The token ids of prompts do not count: the model limits those."""

PARSED_LATER = "arguments"
"""The field whose text is JSON itself, what a function was called with. It counts as what it will be parsed into."""


def too_many_before_parsing(text: bytes) -> PydanticCustomError | None:
    """The refusal of a body with so many lists, objects or strings that parsing it would take long; else None."""
    if _min_values(text, counts_commas=False) <= 2 * MAX_VALUES:  # quick to parse, and then the field is known
        return None
    return refusal("too_many_values", f"The body has more values than the {MAX_VALUES} allowed.")


def too_many_values(body: Any) -> PydanticCustomError | None:
    """The refusal of a parsed body with more than `MAX_VALUES`, naming the field that exceeds them; else None."""
    room = MAX_VALUES
    for name, value in body.items() if isinstance(body, dict) else ():
        room -= 1 + (_num_prompts(value) if name == "prompt" else _num_values(value, room))
        if room < 0:
            return refusal("too_many_values", f"'{name}' has more values than the {MAX_VALUES} allowed.", name)
    return None


def _num_prompts(prompt: Any) -> int:
    """The length of a list of prompts; the token ids of a single one are not counted."""
    return len(prompt) if isinstance(prompt, list) and not set(map(type, prompt)) <= {int} else 0


def _num_values(value: Any, max_values: int) -> int:
    """The number of values in all lists, objects and JSON texts of `value`, or some number above `max_values`."""
    count, unseen = 0, [value]
    while unseen and count <= max_values:
        each = unseen.pop()
        if not isinstance(each, list | dict):
            continue
        count += len(each)
        if isinstance(each, list):
            unseen += each if count <= max_values else ()
            continue
        unseen += each.values() if count <= max_values else ()
        if isinstance(text := each.get(PARSED_LATER), str):
            count += _min_values(text.encode(), counts_commas=True)
    return count


def _min_values(text: bytes, counts_commas: bool) -> int:
    """A lower bound on the number of values in a JSON text, which has at most about four times as many. Numbers in
    lists are included only with `counts_commas`.

    What is inside strings does not count. The passes over the text run in C: milliseconds for the largest body.
    """
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    if (num_strings := unescaped.count(b'"') // 4) > 2 * MAX_VALUES:  # two quotes a string, and a name beside a value
        return num_strings
    structure = b"".join(unescaped.split(b'"')[::2])
    num_containers = structure.count(b"[") + structure.count(b"{")
    return max(num_containers - 1, structure.count(b":"), structure.count(b",") if counts_commas else 0)
