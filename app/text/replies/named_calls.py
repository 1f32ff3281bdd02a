"""Reads calls whose name stands in markup, followed by their arguments."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from app.text.json_object import JsonObject
from app.text.replies.call_reader import CallReader, Outcome
from app.text.replies.format import CallFormat
from app.text.replies.markup import MORE, NO, is_tag, marks_of, skip, skip_any, skip_spaces
from app.text.replies.parts import Tools


def match_name(text: str, at: int, tools: Iterable[str]) -> tuple[str, int]:
    """The tool that is named at a position, and the position behind its name. An empty name and MORE or NO, if it is
    not known yet whether there is one, or there is none.
    """
    at = skip_spaces(text, at)
    found, unsure = "", False
    for name in tools:
        if text.startswith(name, at):
            unsure |= len(text) == at + len(name)
            found = max(found, name, key=len)
        else:
            unsure |= name.startswith(text[at:])
    if unsure:
        return "", MORE
    end = at + len(found)
    if not found or text[end].isalnum() or text[end] in "_.-":
        return "", NO
    return found, end


class NamedCallReader(CallReader):
    """A call is an opening, a name, and arguments in some form, and may be one of several in a section."""

    def __init__(self, calls: CallFormat, tools: Tools, opening: str = "") -> None:
        super().__init__(calls, tools, opening)
        begin, opened = marks_of(calls.begin), marks_of(opening)
        first = next((at for at in range(len(begin)) if opened and begin[at : at + len(opened)] == opened), -1)
        self._lead = begin[first + len(opened) :] if first >= 0 else begin
        self._next = (*marks_of(calls.separator or ""), *marks_of(calls.call_begin))
        self._after_name = marks_of(calls.after_name)
        self._call_end, self._section_end = marks_of(calls.call_end), marks_of(calls.section_end)

    def _read_first(self) -> bool:
        """Read a call up to the beginning of its arguments."""
        at = skip(self.held, self._lead)
        if at == NO and self._lead and not is_tag(self._lead[-1]):
            at = skip(self.held, self._lead[:-1])
        name = ""
        if at >= 0:
            name, at = match_name(self.held, at, self._tools)
        if name:
            at = self._skip_after_name(at)
        if at == MORE:
            return False
        begins = at != NO and self._arguments_begin(at)
        if begins is None:
            return False
        if not begins:
            return self._end(Outcome.NO_CALL)
        self._begin(name, self._read_arguments, self.held[at:])
        self._name = name
        self._begin_arguments()
        return True

    def _skip_after_name(self, at: int) -> int:
        """Models leave out some of what the template writes there, such as an id."""
        ends = [skip(self.held, self._after_name[index:], at) for index in range(len(self._after_name))]
        certain = [end for end in ends if end >= 0]
        if certain or not ends:
            return certain[0] if certain else at
        return MORE if MORE in ends else NO

    def _read_end(self) -> bool:
        """Skip what follows the arguments: the end of the call, and of the section if no other call follows in it."""
        held = self.held
        at = skip_any(held, self._call_end)
        if at == MORE:
            return False
        if self._calls.section_begin or self._calls.section_end:
            ends = skip(held, self._section_end[:1], at) if self._section_end else NO
            follows = skip(held, self._next, at)
            if ends < 0 and MORE in (ends, follows):
                return False
            if ends == NO and follows >= 0:
                self.is_in_head, self._lead = True, self._next
                self._skipped = held[:at]
                return self._go_on(self._read_first, held[at:])
            at = skip_any(held, self._section_end, at)
            if at == MORE:
                return False
        self.held = held[at:]
        return self._end(Outcome.DONE)

    @abstractmethod
    def _arguments_begin(self, at: int) -> bool | None:
        """Whether arguments begin at the position; None if it is not known yet."""

    @abstractmethod
    def _begin_arguments(self) -> None:
        """Prepare for the arguments of the tool `_name`."""

    @abstractmethod
    def _read_arguments(self) -> bool:
        """The state that reads the arguments, and goes on with `_read_end`."""

    def _end_arguments(self, rest: str) -> bool:
        self.is_in_arguments = False
        return self._go_on(self._read_end, rest)


class NamedJsonReader(NamedCallReader):
    """The arguments are a JSON object, passed on as it arrives."""

    def _arguments_begin(self, at: int) -> bool | None:
        at = skip_spaces(self.held, at)
        return None if at == len(self.held) else self.held[at] == "{"

    def _skip_after_name(self, at: int) -> int:
        end = super()._skip_after_name(at)
        return at if end == NO else end  # the object may follow the name at once

    def _begin_arguments(self) -> None:
        self._object = JsonObject()
        self.held = self.held.lstrip()

    def _read_arguments(self) -> bool:
        end = self._object.feed(self.held)
        self._give(self.held[:end])
        self.held = self.held[end:]
        if self._object.is_broken:
            return self._end(Outcome.BROKEN)
        return self._object.is_complete and self._end_arguments(self.held)
