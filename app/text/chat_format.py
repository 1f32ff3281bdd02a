"""Separates a chat model's reply into reasoning, content and tool calls, while the text arrives."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from app.text.json_object import JsonObject
from app.text.tool_calls import match_head, read_call

THINK, THINK_END = "<think>", "</think>"
CALL, CALL_END = "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Which markup the replies of a model may contain, judging by its chat template.

    Reasoning is written between `<think>` and `</think>` at the beginning. A tool call is a JSON object with `name` and
    `arguments` between `<tool_call>` and `</tool_call>` (the format of Hermes and Qwen).
    """

    thinks: bool = False
    calls_tools: bool = False

    @classmethod
    def of(cls, template: str) -> ChatFormat:
        calls_are_json = CALL in template and "<function=" not in template
        return cls(thinks=THINK_END in template, calls_tools=calls_are_json and "tools" in template)


def is_reasoning(reply: str) -> bool:
    """Whether a reply that begins like this is in the middle of its reasoning."""
    return reply.lstrip().startswith(THINK) and THINK_END not in reply


class Content(NamedTuple):
    text: str


class Reasoning(NamedTuple):
    text: str


class CallBegins(NamedTuple):
    name: str


class CallArguments(NamedTuple):
    """The next piece of the JSON text of the last call's arguments."""

    text: str


Part = Content | Reasoning | CallBegins | CallArguments


class ReplyReader:
    """Parses one reply incrementally. Text is held back only until it is clear which part it belongs to.

    White space between parts belongs to none of them. A tool call must name one of the offered tools; markup that turns
    out to be no such call becomes content, unchanged.

    The arguments of a call are passed on as they arrive, as long as they are the beginning of a JSON object, and cannot
    be taken back. If they turn out not to be one, or the reply ends within them, `has_broken_call` is set: they must
    not be used, and what follows is content.
    """

    def __init__(self, chat_format: ChatFormat, tools: Collection[str] = (), *, is_thinking: bool = False) -> None:
        """`tools` names the tools that may be called; `is_thinking` says that the prompt has opened the reasoning."""
        self.has_broken_call = False
        self._tools = tools if chat_format.calls_tools else ()
        self._held = ""
        self._strips = is_thinking
        self._gap = ""
        self._parts: list[Part] = []
        self._call = JsonObject()
        self._num_followed = 0  # characters at the beginning of `_held` that `_call` has consumed
        self._state: Callable[[], bool] = self._read_opening if chat_format.thinks else self._read_content
        if is_thinking:
            self._state = self._read_second_opening

    def feed(self, text: str) -> list[Part]:
        """Add the next text of the reply. Returns the parts that it completes or continues."""
        self._held += text
        while self._state():
            pass
        parts, self._parts = self._parts, []
        return parts

    def finish(self, *, was_cut: bool = False) -> list[Part]:
        """End the reply. Returns what was held back, as what it looks like so far. If the reply `was_cut` (by its
        length) within the head of a call, that head is dropped.
        """
        held, self._held = self._held, ""
        match self._state:
            case self._read_call_head if not was_cut:
                self._give(Content(self._gap + CALL + held))
            case self._read_arguments:
                self._give(CallArguments(held))
                self.has_broken_call = True
            case self._read_second_opening | self._read_reasoning:
                self._give(Reasoning(held.lstrip() if self._strips else held))
            case self._read_opening | self._read_content if not (self._strips and held.isspace()):
                self._give(Content(held))
        parts, self._parts = self._parts, []
        return parts

    # The states. Each consumes what it can from `_held`, and returns whether another state continues with the rest.

    def _read_opening(self) -> bool:
        return self._read_marker(THINK, self._read_reasoning, otherwise=self._read_content)

    def _read_second_opening(self) -> bool:
        """Skip an opening marker that the model repeats although the prompt already contains it."""
        return self._read_marker(THINK, self._read_reasoning, otherwise=self._read_reasoning)

    def _read_reasoning(self) -> bool:
        return self._read_until(THINK_END, Reasoning, self._read_content)

    def _read_content(self) -> bool:
        if self._tools:
            return self._read_until(CALL, Content, self._read_call_head)
        if self._strips:
            self._held = self._held.lstrip()
        self._give(Content(self._held))
        self._strips = self._strips and not self._held
        self._held = ""
        return False

    def _read_marker(self, marker: str, then: Callable[[], bool], otherwise: Callable[[], bool]) -> bool:
        """If the text begins with the marker, skip it and continue in state `then`; if it cannot, in `otherwise`."""
        begun = self._held.lstrip()
        if begun.startswith(marker):
            return self._go_on(then, begun[len(marker) :])
        if marker.startswith(begun):
            return False
        self._state = otherwise
        return True

    def _read_until(self, marker: str, kind: type[Content | Reasoning], then: Callable[[], bool]) -> bool:
        """Emit the text before the marker, without the white space around it, and continue in state `then` after it."""
        if self._strips:
            self._held = self._held.lstrip()
        before, found, after = self._held.partition(marker)
        if found:
            text = before.rstrip()
            self._give(kind(text))
            self._gap = before[len(text) :]
            return self._go_on(then, after)
        safe = len(self._held) - _partial(self._held, marker)
        safe = len(self._held[:safe].rstrip())
        self._give(kind(self._held[:safe]))
        self._strips = self._strips and not safe
        self._held = self._held[safe:]
        return False

    def _read_call_head(self) -> bool:
        """Read a call up to its arguments, or all of it if its keys are in another order."""
        if head := match_head(self._held):
            if head.name not in self._tools:
                return self._take_back()
            self._call.feed(self._held[self._num_followed : head.end])
            self._give(CallBegins(head.name))
            return self._go_on(self._read_arguments, self._held[head.end :])
        self._follow_call()
        if self._call.is_broken:
            return self._take_back()
        if not self._call.is_complete:
            return False
        call = read_call(self._held[: self._num_followed])
        if call is None or call.name not in self._tools:
            return self._take_back()
        self._give(CallBegins(call.name))
        self._give(CallArguments(call.arguments))
        return self._go_on(self._read_call_end, self._held[self._num_followed :])

    def _read_arguments(self) -> bool:
        """Emit the JSON object of the arguments up to its closing brace, as far as it has arrived."""
        end = self._call.feed(self._held, until_depth=1)
        self._give(CallArguments(self._held[:end]))
        self._held = self._held[end:]
        if self._call.is_broken:
            self.has_broken_call = True
            return self._go_on(self._read_content, self._held, strips=False)
        return self._call.depth == 1 and self._go_on(self._read_call_tail, self._held)

    def _read_call_tail(self) -> bool:
        """Skip what follows the arguments within the call."""
        self._follow_call()
        if self._call.is_complete:
            return self._go_on(self._read_call_end, self._held[self._num_followed :])
        return self._call.is_broken and self._go_on(self._read_call_end, self._held)

    def _read_call_end(self) -> bool:
        return self._read_marker(CALL_END, self._read_content, otherwise=self._read_content)

    def _follow_call(self) -> None:
        self._num_followed += self._call.feed(self._held[self._num_followed :])

    def _go_on(self, state: Callable[[], bool], rest: str, *, strips: bool = True) -> bool:
        self._state, self._held, self._strips, self._num_followed = state, rest, strips, 0
        if state == self._read_call_head:
            self._call = JsonObject()
        return True

    def _take_back(self) -> bool:
        """It was no tool call after all: what follows the marker is read as content."""
        self._give(Content(self._gap + CALL))
        return self._go_on(self._read_content, self._held, strips=False)

    def _give(self, part: Part) -> None:
        if part[0]:
            self._parts.append(part)


def _partial(text: str, marker: str) -> int:
    """How many characters at the end of the text could be the beginning of the marker."""
    return next((size for size in range(min(len(marker) - 1, len(text)), 0, -1) if text.endswith(marker[:size])), 0)
