"""Reads calls whose arguments are written one by one between tags, and makes JSON of them as they arrive."""

from __future__ import annotations

import json

from app.text.replies.call_reader import Outcome
from app.text.replies.format import CallFormat, TaggedArguments
from app.text.replies.markup import NO, marks_of, partial, skip, skip_spaces
from app.text.replies.named_calls import NamedCallReader
from app.text.replies.parts import Tools
from app.text.replies.values import as_json, escaped, types_of

MAX_KEY_CHARS = 200


class TaggedReader(NamedCallReader):
    """A parameter that can only be a string is passed on as it arrives, another one when it is complete.

    A value ends at its closing tag if another parameter or the end of the call follows: else the tag is part of it.
    """

    def __init__(self, calls: CallFormat, tools: Tools, opening: str = "") -> None:
        super().__init__(calls, tools, opening)
        tags = calls.arguments
        assert isinstance(tags, TaggedArguments)
        self._key_begin, self._key_end = marks_of(tags.key_begin), marks_of(tags.key_end)
        self._is_padded = tags.key_end.endswith("\n")
        self._value_end = marks_of(tags.value_end)[0]
        ends = (*self._call_end, *self._section_end)
        self._follow = tuple(dict.fromkeys(mark for mark in (self._key_begin[0], *ends) if mark))
        self._call_ends = tuple(dict.fromkeys(ends))

    def _arguments_begin(self, at: int) -> bool | None:
        return self._what_follows(at)

    def _what_follows(self, at: int) -> bool | None:
        """Whether a parameter or the end of the call is at the position; None if it is not known yet."""
        at = skip_spaces(self.held, at)
        if self.held.startswith(self._follow, at):
            return True
        return None if any(mark.startswith(self.held[at:]) for mark in self._follow) else False

    def _begin_arguments(self) -> None:
        self._num_arguments = 0
        self._give("{")

    def _read_arguments(self) -> bool:
        """Read the beginning of the next parameter, or the end of the call."""
        at = skip(self.held, self._key_begin)
        if at >= 0:
            return self._go_on(self._read_key, self.held[at:])
        at = skip_spaces(self.held)
        if at != len(self.held) and self.held.startswith(self._call_ends, at):
            self._give("}")
            return self._end_arguments(self.held[at:])
        return False if self._what_follows(0) is None or self._what_follows(0) else self._end(Outcome.BROKEN)

    def _read_key(self) -> bool:
        first = self._key_end[0]
        at = self.held.find(first)
        if at < 0 and len(self.held) <= MAX_KEY_CHARS:
            return False
        key = self.held[:at].strip()
        end = skip(self.held, self._key_end, at) if at >= 0 and key else NO
        if end < 0:
            return False if end != NO else self._end(Outcome.BROKEN)
        if self._is_padded and end == len(self.held):
            return False
        self._types = types_of(self._tools[self._name], key)
        self._is_text = self._types == {"string"}
        self._num_searched = 0
        separator = ", " if self._num_arguments else ""
        self._num_arguments += 1
        self._give(f"{separator}{json.dumps(key, ensure_ascii=False)}: " + ('"' if self._is_text else ""))
        rest = self.held[end:]
        return self._go_on(self._read_value, rest.removeprefix("\n") if self._is_padded else rest)

    def _read_value(self) -> bool:
        at, is_end = self._find_end()
        if is_end:
            value = self.held[:at]
            value = value.removesuffix("\n") if self._is_padded else value
            self._give(escaped(value) + '"' if self._is_text else as_json(value, self._types))
            return self._go_on(self._read_arguments, self.held[at + len(self._value_end) :])
        if self._is_text:
            if self._is_padded and self.held[:at].endswith("\n"):
                at -= 1
            self._give(escaped(self.held[:at]))
            self.held, at = self.held[at:], 0
        self._num_searched = at
        return False

    def _find_end(self) -> tuple[int, bool]:
        """Where the value ends, if it does; else how much of what is held surely belongs to it."""
        at, tag = self._num_searched, self._value_end
        while (at := self.held.find(tag, at)) >= 0:
            follows = self._what_follows(at + len(tag))
            if follows is None or follows:
                return at, follows is not None
            at += len(tag)
        return len(self.held) - partial(self.held, tag), False

    def finish(self) -> str:
        return escaped(self.held) if self._state == self._read_value and self._is_text else ""
