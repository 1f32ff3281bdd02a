"""Parses tool calls in the format of Hermes and Qwen: a JSON object with `name` and `arguments`."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from app.text.json_object import is_object

_SPACES = r"[ \t\n\r]*"
_HEAD = re.compile(
    _SPACES.join(["", r"\{", '"name"', ":", r'("(?:[^"\\]|\\.)*")', ",", '"(?:arguments|parameters)"', ":", r"(?=\{)"]),
    re.DOTALL,
)


class Head(NamedTuple):
    """The beginning of a call, up to `end`, where its arguments begin. `name` is empty if it is not valid JSON."""

    name: str
    end: int


class Call(NamedTuple):
    """A complete call. `arguments` is the text of a JSON object."""

    name: str
    arguments: str


def match_head(text: str) -> Head | None:
    """The head of a call at the beginning of the text. None if it is incomplete so far, or written in another order."""
    found = _HEAD.match(text)
    if found is None:
        return None
    try:
        return Head(json.loads(found[1]), found.end())
    except ValueError:
        return Head("", found.end())


def read_call(text: str) -> Call | None:
    """The call that a JSON object represents, or None. Llama writes `parameters`; some models write the arguments as a
    string.
    """
    call: dict[str, Any] = json.loads(text)
    name = call.get("name")
    arguments = _arguments(call)
    return Call(name, arguments) if isinstance(name, str) and arguments is not None else None


def _arguments(call: dict[str, Any]) -> str | None:
    """The arguments as JSON text, `{}` if the call has none. None if they are not an object."""
    found = next((call[key] for key in ("arguments", "parameters") if key in call), None)
    if found is None or found == "":
        return "{}" if call.keys() <= {"name", "arguments", "parameters"} else None
    if isinstance(found, str):
        return found if is_object(found) else None
    try:
        return json.dumps(found, ensure_ascii=False, allow_nan=False) if isinstance(found, dict) else None
    except ValueError:  # a number that JSON allows but Python reads as infinity, which cannot be written again
        return None
