"""Reads calls that are JSON objects with a name and arguments, single ones or in a list."""

from __future__ import annotations

import re

from app.text.json_object import JsonObject
from app.text.replies.call_reader import CallReader, Outcome
from app.text.replies.format import CallFormat, JsonCalls
from app.text.replies.json_call import JsonCallPattern
from app.text.replies.markup import MORE, skip_any, skip_spaces
from app.text.replies.parts import Tools

_FIRST_KEY = re.compile(r'\s*\{\s*"((?:[^"\\]|\\.)*)"')
_SEPARATOR = re.compile(r"\s*[;,]\s*(?=\{)")


class JsonCallReader(CallReader):
    """Passes the arguments on as they arrive where they follow the name, else when the call is complete."""

    def __init__(self, calls: CallFormat, tools: Tools, opening: str = "") -> None:
        super().__init__(calls, tools, opening)
        style = calls.arguments
        self._pattern = JsonCallPattern(style if isinstance(style, JsonCalls) else JsonCalls())
        self._is_listed = False
        self._object = JsonObject()
        self._num_followed = 0  # characters at the beginning of `held` that `_object` has consumed

    def _read_first(self) -> bool:
        at = skip_spaces(self.held)
        if at == len(self.held):
            return False
        if self.held[at] == "[":
            self._is_listed = True
            self._skipped, self.held = self.held[: at + 1], self.held[at + 1 :]
        self._state = self._read_head
        return True

    def _read_head(self) -> bool:
        """Read a call up to its arguments, or all of it if its keys are in another order."""
        if head := self._pattern.match_head(self.held):
            if head.name not in self._tools:
                return self._end(Outcome.NO_CALL)
            self._object.feed(self.held[self._num_followed : head.end])
            return self._begin(head.name, self._read_arguments, self.held[head.end :])
        self._follow()
        if self._object.is_broken or self._is_other_object():
            return self._end(Outcome.NO_CALL)
        if not self._object.is_complete:
            return False
        call = self._pattern.read(self.held[: self._num_followed])
        if call is None or call.name not in self._tools:
            return self._end(Outcome.NO_CALL)
        self._begin(call.name, self._read_end, self.held[self._num_followed :])
        self._give(call.arguments)
        self.is_in_arguments = False
        return True

    def _read_arguments(self) -> bool:
        """Pass the object of the arguments on up to its closing brace, as far as it has arrived."""
        end = self._object.feed(self.held, until_depth=1)
        self._give(self.held[:end])
        self.held = self.held[end:]
        if self._object.is_broken:
            return self._end(Outcome.BROKEN)
        if self._object.depth > 1:
            return False
        self.is_in_arguments, self._num_followed = False, 0
        return self._go_on(self._read_tail, self.held)

    def _read_tail(self) -> bool:
        """Skip what follows the arguments within the object of the call."""
        self._follow()
        if self._object.is_complete:
            return self._go_on(self._read_end, self.held[self._num_followed :])
        return self._object.is_broken and self._go_on(self._read_end, self.held)

    def _read_end(self) -> bool:
        """Skip what follows the object of a call: a comma or the end of the list, and the closing markup."""
        if self._is_listed:
            at = skip_spaces(self.held)
            if at == len(self.held):
                return False
            if self.held[at] == ",":
                return self._read_next(at + 1)
            self._is_listed = False
            if self.held[at] == "]":
                self.held = self.held[at + 1 :]
        if not self._calls.closing:
            if self.held.strip() in ("", ";", ","):
                return False
            if separator := _SEPARATOR.match(self.held):
                return self._read_next(separator.end())
        at = skip_any(self.held, self._calls.closing)
        if at == MORE:
            return False
        self.held = self.held[at:]
        return self._end(Outcome.DONE)

    def _read_next(self, at: int) -> bool:
        self.is_in_head, self._object, self._num_followed = True, JsonObject(), 0
        self._skipped = self.held[:at]
        return self._go_on(self._read_head, self.held[at:])

    def _is_other_object(self) -> bool:
        """An object without markup around it may be an answer in JSON, which must not wait for its end."""
        key = None if self._opening else _FIRST_KEY.match(self.held)
        return key is not None and key[1] not in self._pattern.keys

    def _follow(self) -> None:
        self._num_followed += self._object.feed(self.held[self._num_followed :])
