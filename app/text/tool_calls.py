"""A tool call as models of the Hermes and Qwen kind write it: a JSON object with `name` and `arguments`."""

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
    """The beginning of a call, which ends where its arguments begin. A name that is no JSON string is empty."""

    name: str
    end: int


class Call(NamedTuple):
    """A whole call. `arguments` is the text of a JSON object."""

    name: str
    arguments: str


def match_head(text: str) -> Head | None:
    """The head of the call that the text begins; None while it is not complete, or if it is written otherwise."""
    found = _HEAD.match(text)
    if found is None:
        return None
    try:
        return Head(json.loads(found[1]), found.end())
    except ValueError:
        return Head("", found.end())


def read_call(text: str) -> Call | None:
    """The call that a JSON object is, if it is one. Llama writes `parameters`; some write the arguments as a string."""
    call: dict[str, Any] = json.loads(text)
    name = call.get("name")
    arguments = _arguments(call)
    return Call(name, arguments) if isinstance(name, str) and arguments is not None else None


def _arguments(call: dict[str, Any]) -> str | None:
    """As text; None if there is something, and it is no object. A call may say nothing of arguments."""
    found = next((call[key] for key in ("arguments", "parameters") if key in call), None)
    if found is None or found == "":
        return "{}" if call.keys() <= {"name", "arguments", "parameters"} else None
    if isinstance(found, str):
        return found if is_object(found) else None
    try:
        return json.dumps(found, ensure_ascii=False, allow_nan=False) if isinstance(found, dict) else None
    except ValueError:  # of a number too large for Python, which JSON has and cannot be written again
        return None
