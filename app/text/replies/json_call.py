"""Recognises calls that are JSON objects with a name and arguments."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from app.text.json_object import is_object
from app.text.replies.format import JsonCalls

_SPACES = r"[ \t\n\r]*"
_STRING = r'"(?:[^"\\]|\\.)*"'
_ARGUMENTS_KEYS = ("arguments", "parameters")
MAX_LEADING_KEYS = 4


class Head(NamedTuple):
    """The beginning of a call, up to `end`, where its arguments begin. `name` is empty if it is not valid JSON."""

    name: str
    end: int


class Call(NamedTuple):
    """A complete call. `arguments` is the text of a JSON object."""

    name: str
    arguments: str


class JsonCallPattern:
    """Finds name and arguments in calls of one format. Llama writes `parameters` for `arguments`, and some models write
    the arguments as a string.
    """

    def __init__(self, calls: JsonCalls) -> None:
        keys = dict.fromkeys((calls.arguments_key, *_ARGUMENTS_KEYS))
        self._name_key, self._arguments_keys = calls.name_key, tuple(keys)
        self.keys = frozenset({calls.name_key, *keys, "type", "id", "function"})
        """The keys of a call that may come first."""
        parts = ["", r"\{", f"({_STRING})", ":", r"(?=\{)"]
        if calls.name_key is not None:
            arguments = f'"(?:{"|".join(map(re.escape, keys))})"'
            parts = ["", r"\{", f'"{re.escape(calls.name_key)}"', ":", f"({_STRING})", ",", arguments, ":", r"(?=\{)"]
        if calls.has_leading_keys:
            pair = _SPACES.join([_STRING, ":", rf"(?:{_STRING}|[\w.+-]+)", ","])
            parts[1] = rf"\{{(?:{_SPACES}{pair}){{0,{MAX_LEADING_KEYS}}}?"
        self._head = re.compile(_SPACES.join(parts), re.DOTALL)

    def match_head(self, text: str) -> Head | None:
        """The head of a call at the beginning of the text. None if it is incomplete so far, or in another order."""
        found = self._head.match(text)
        if found is None:
            return None
        try:
            return Head(json.loads(found[1]), found.end())
        except ValueError:
            return Head("", found.end())

    def read(self, text: str) -> Call | None:
        """The call that a JSON object represents, or None."""
        call: dict[str, Any] = json.loads(text)
        if self._name_key is None:
            call = {"name": next(iter(call)), "arguments": next(iter(call.values()))} if len(call) == 1 else {}
        elif isinstance(function := call.get("function"), dict):
            call = function
        name = call.get(self._name_key or "name")
        arguments = self._arguments(call)
        return Call(name, arguments) if isinstance(name, str) and arguments is not None else None

    def _arguments(self, call: dict[str, Any]) -> str | None:
        """The arguments as JSON text, `{}` if the call has none. None if they are not an object."""
        found = next((call[key] for key in self._arguments_keys if key in call), None)
        if found is None or found == "":
            return "{}" if call.keys() <= {self._name_key or "name", *self._arguments_keys} else None
        if isinstance(found, str):
            return found if is_object(found) else None
        try:
            return json.dumps(found, ensure_ascii=False, allow_nan=False) if isinstance(found, dict) else None
        except ValueError:  # a number that JSON allows but Python reads as infinity, which cannot be written again
            return None
