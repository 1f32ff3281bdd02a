"""Separates a chat model's reply into reasoning, content and tool calls, while the text arrives."""

from __future__ import annotations

from collections.abc import Callable

from app.text.replies.call_reader import CallReader, Outcome
from app.text.replies.format import (
    BARE_JSON,
    PYTHON,
    CallFormat,
    JsonArguments,
    JsonCalls,
    PythonArguments,
    ReplyFormat,
)
from app.text.replies.json_calls import JsonCallReader
from app.text.replies.markup import find, skip_spaces
from app.text.replies.named_calls import NamedJsonReader
from app.text.replies.parts import CallArguments, Content, Part, Reasoning, Tools
from app.text.replies.python_calls import PythonReader
from app.text.replies.tagged_calls import TaggedReader

_BARE = ("\n{", "\n[")
"""Where calls have no markup of their own, they begin a line."""


class ReplyReader:
    """A Reader (see there) of replies whose parts are told apart by markup."""

    def __init__(self, reply_format: ReplyFormat, tools: Tools | None = None, *, is_thinking: bool = False) -> None:
        """`is_thinking` says that the prompt has opened the reasoning."""
        self.has_broken_call = False
        self._tools = tools or {}
        self._calls = reply_format.calls if tools and reply_format.calls_tools else None
        self._reasoning = reasoning = reply_format.reasoning
        openings = self._calls.openings if self._calls else ()
        self._is_bare = self._calls is not None and (not openings or isinstance(self._calls.arguments, PythonArguments))
        ends = (reasoning.content_end,) if reasoning and reasoning.content_end else ()
        self._marks = (*openings, *(_BARE if self._is_bare else ()), *ends)
        self._firsts = "".join({mark[0] for mark in self._marks})
        self._held = ""
        self._is_plain = False  # nothing is held within content
        self._strips = is_thinking
        self._gap = ""
        self._opening = ""
        self._parts: list[Part] = []
        self._call: CallReader | None = None
        self._state: Callable[[], bool] = self._read_opening if reasoning else self._read_start
        if is_thinking:
            self._state = self._read_second_opening

    def feed(self, text: str) -> list[Part]:
        if self._is_plain and text and self._is_content(text):
            return [Content(text)]
        if self._call is not None:
            outcome = self._call.feed(text)
            if outcome is Outcome.MORE:
                return self._call.take_parts()
            self._end_calls(self._call, outcome)
        else:
            self._held += text
        while self._state():
            pass
        self._is_plain = not self._held and not self._strips and self._state == self._read_content
        parts, self._parts = self._parts, []
        return parts

    def _is_content(self, text: str) -> bool:
        """Whether a text within content surely belongs to it as a whole: nearly all do."""
        if not self._marks:
            return True
        for first in self._firsts:
            if first in text:
                return False
        return not text[-1].isspace()

    def finish(self, *, was_cut: bool = False) -> list[Part]:
        held, self._held = self._held, ""
        match self._state:
            case self._read_call:
                self._finish_call(was_cut)
            case self._read_bare:
                self._give(Content("" if was_cut else self._gap + held))
            case self._read_second_opening | self._read_reasoning:
                self._give(Reasoning(held.lstrip() if self._strips else held))
            case _ if not (self._strips and held.isspace()):
                self._give(Content(held))
        parts, self._parts = self._parts, []
        return parts

    # The states. Each consumes what it can from `_held`, and returns whether another state continues with the rest.

    def _read_opening(self) -> bool:
        assert self._reasoning is not None
        return self._read_marker(self._reasoning.begin, self._read_reasoning, otherwise=self._read_content_begin)

    def _read_second_opening(self) -> bool:
        """Skip an opening marker that the model repeats although the prompt already contains it."""
        assert self._reasoning is not None
        return self._read_marker(self._reasoning.begin, self._read_reasoning, otherwise=self._read_reasoning)

    def _read_reasoning(self) -> bool:
        assert self._reasoning is not None
        if self._read_until((self._reasoning.end,), Reasoning):
            return self._go_on(self._read_content_begin, self._held)
        return False

    def _read_content_begin(self) -> bool:
        marker = self._reasoning.content_begin if self._reasoning else ""
        if marker:
            return self._read_marker(marker, self._read_start, otherwise=self._read_start)
        self._state = self._read_start
        return True

    def _read_start(self) -> bool:
        """At the beginning of content, a call may begin with nothing but itself."""
        if self._is_bare:
            at = skip_spaces(self._held)
            if at == len(self._held):
                return False
            if self._held[at] in "{[":
                self._gap, self._opening = "" if self._strips else self._held[:at], ""
                return self._go_on(self._read_bare, self._held[at:])
        self._state = self._read_content
        return True

    def _read_content(self) -> bool:
        if self._marks:
            if self._read_until(self._marks, Content):
                return self._read_mark()
            return False
        if self._strips:
            self._held = self._held.lstrip()
        self._give(Content(self._held))
        self._strips = self._strips and not self._held
        self._held = ""
        return False

    def _read_mark(self) -> bool:
        """Behind a mark within content: a call may begin, or the content ends."""
        mark = self._opening
        if mark in _BARE:
            self._gap, self._opening = self._gap + mark[0], ""
            return self._go_on(self._read_bare, mark[1] + self._held)
        if self._reasoning and mark == self._reasoning.content_end:
            return self._go_on(self._read_start, self._held)
        assert self._calls is not None
        return self._begin_call(self._calls)

    def _read_bare(self) -> bool:
        """Decide whether what may be a call without markup would be JSON or Python."""
        at = skip_spaces(self._held, 1)
        if at == len(self._held):
            return False
        assert self._calls is not None
        is_python = self._held[0] == "[" and self._held[at] != "{"
        return self._begin_call(PYTHON if is_python else BARE_JSON if self._calls.openings else self._calls)

    def _begin_call(self, calls: CallFormat) -> bool:
        self._call = _reader_of(calls)(calls, self._tools, self._opening)
        return self._go_on(self._read_call, self._held)

    def _read_call(self) -> bool:
        assert self._call is not None
        outcome = self._call.feed(self._held)
        self._held = ""
        if outcome is Outcome.MORE:
            self._parts += self._call.take_parts()
            return False
        return self._end_calls(self._call, outcome)

    def _end_calls(self, call: CallReader, outcome: Outcome) -> bool:
        self._call = None
        self._parts += call.take_parts()
        if outcome is Outcome.DONE:
            return self._go_on(self._read_start, call.held)
        if outcome is Outcome.NO_CALL:
            return self._take_back(call)
        self.has_broken_call = True
        return self._go_on(self._read_content, call.held, strips=False)

    def _take_back(self, call: CallReader) -> bool:
        """It was no tool call after all: what follows the opening is read as content."""
        if not call.num_calls:
            self._give(Content(self._gap + self._opening))
            return self._go_on(self._read_content, call.held, strips=False)
        at = skip_spaces(call.held)
        opening = next((mark for mark in self._marks if call.held.startswith(mark, at)), "")
        self._give(Content(call.held[: at + len(opening)]))
        return self._go_on(self._read_content, call.held[at + len(opening) :], strips=False)

    def _finish_call(self, was_cut: bool) -> None:
        call = self._call
        assert call is not None
        if call.is_in_head and not was_cut:
            self._give(Content(("" if call.num_calls else self._gap + self._opening) + call.head))
        elif call.is_in_arguments:
            rest = call.finish()
            self._parts += [CallArguments(rest)] if rest else []
            self.has_broken_call = True

    def _read_marker(self, marker: str, then: Callable[[], bool], otherwise: Callable[[], bool]) -> bool:
        """If the text begins with the marker, skip it and continue in state `then`; if it cannot, in `otherwise`."""
        begun = self._held.lstrip()
        if begun.startswith(marker):
            return self._go_on(then, begun[len(marker) :])
        if marker.startswith(begun):
            return False
        self._state = otherwise
        return True

    def _read_until(self, marks: tuple[str, ...], kind: type[Content | Reasoning]) -> bool:
        """Emit the text before the first of the marks, without the white space around it. Returns whether there is one:
        then it is the `_opening`, and the text behind it is held.
        """
        if self._strips:
            self._held = self._held.lstrip()
        held = self._held
        at, found = find(held, marks)
        text = held[:at].rstrip()
        self._give(kind(text))
        if found:
            self._gap, self._opening, self._held = held[len(text) : at], found, held[at + len(found) :]
            return True
        self._strips = self._strips and not text
        self._held = held[len(text) :]
        return False

    def _go_on(self, state: Callable[[], bool], rest: str, *, strips: bool = True) -> bool:
        self._state, self._held, self._strips = state, rest, strips
        return True

    def _give(self, part: Content | Reasoning) -> None:
        if part.text:
            self._parts.append(part)


def _reader_of(calls: CallFormat) -> type[CallReader]:
    match calls.arguments:
        case JsonCalls():
            return JsonCallReader
        case JsonArguments():
            return NamedJsonReader
        case PythonArguments():
            return PythonReader
        case _:
            return TaggedReader
