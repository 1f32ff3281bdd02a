"""What a chat model's reply is made of: reasoning, content and tool calls, told apart as the text arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

THINK, THINK_END = "<think>", "</think>"
CALL, CALL_END = "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What can be read in the replies of a model, going by what its chat template writes.

    Reasoning stands between `<think>` and `</think>` at the beginning; a tool call is a JSON object with `name` and
    `arguments` between `<tool_call>` and `</tool_call>` (the form of Hermes and Qwen).
    """

    thinks: bool = False
    calls_tools: bool = False

    @classmethod
    def of(cls, template: str) -> ChatFormat:
        calls_are_json = CALL in template and "<function=" not in template
        return cls(thinks=THINK_END in template, calls_tools=calls_are_json and "tools" in template)


def is_reasoning(reply: str) -> bool:
    """Whether a reply that has been begun so has begun to reason and not ended it."""
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

_CALL_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*(?=\{)', re.DOTALL)


class ReplyReader:
    """Reads one reply. Nothing is held back longer than it takes to know what it is.

    White space between the parts belongs to none of them. Markup that turns out to be no tool call is content, as it
    stands. The arguments of a call are passed on as they arrive, so they are what the model wrote, valid or not.
    """

    def __init__(self, chat_format: ChatFormat, *, is_thinking: bool = False) -> None:
        """`is_thinking`: the prompt has begun the reasoning already."""
        self._reads_calls = chat_format.calls_tools
        self._held = ""
        self._strips = is_thinking
        self._gap = ""
        self._parts: list[Part] = []
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._state: Callable[[], bool] = self._read_opening if chat_format.thinks else self._read_content
        if is_thinking:
            self._state = self._read_reasoning

    def feed(self, text: str) -> list[Part]:
        """The parts that this text completes or goes on with."""
        self._held += text
        while self._state():
            pass
        parts, self._parts = self._parts, []
        return parts

    def finish(self) -> list[Part]:
        """The reply ends here; what was held back for more is given as what it looks like."""
        held, self._held = self._held, ""
        if self._state == self._read_call_head and not self._take_whole_call(held):
            self._give(Content(self._gap + CALL + held))
        elif self._state == self._read_reasoning:
            self._give(Reasoning(held))
        elif self._state in (self._read_opening, self._read_content) and not (self._strips and held.isspace()):
            self._give(Content(held))
        parts, self._parts = self._parts, []
        return parts

    # Each of these takes what it can from `_held` and says whether another is to go on with the rest.

    def _read_opening(self) -> bool:
        begun = self._held.lstrip()
        if begun.startswith(THINK):
            return self._go_on(self._read_reasoning, begun[len(THINK) :])
        if THINK.startswith(begun):
            return False
        self._state = self._read_content
        return True

    def _read_reasoning(self) -> bool:
        return self._read_until(THINK_END, Reasoning, self._read_content)

    def _read_content(self) -> bool:
        if self._reads_calls:
            return self._read_until(CALL, Content, self._read_call_head)
        if self._strips:
            self._held = self._held.lstrip()
        self._give(Content(self._held))
        self._strips = self._strips and not self._held
        self._held = ""
        return False

    def _read_until(self, marker: str, kind: type[Content | Reasoning], then: Callable[[], bool]) -> bool:
        """Give what comes before the marker, without the white space around it."""
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
        if head := _CALL_HEAD.match(self._held):
            self._give(CallBegins(json.loads(head[1])))
            return self._go_on(self._read_arguments, self._held[head.end() :])
        call, found, after = self._held.partition(CALL_END)
        if found:
            if self._take_whole_call(call):
                return self._go_on(self._read_content, after)
            return self._take_back(call + CALL_END, after)
        if self._held.lstrip()[:1] not in ("{", ""):
            return self._take_back("", self._held)
        return False

    def _read_arguments(self) -> bool:
        """Give the JSON object up to its closing brace."""
        for index, char in enumerate(self._held):
            if self._in_string:
                self._in_string = self._escaped or char != '"'
                self._escaped = char == "\\" and not self._escaped
            elif char == '"':
                self._in_string = True
            else:
                self._depth += (char in "{[") - (char in "}]")
                if self._depth == 0:
                    self._give(CallArguments(self._held[: index + 1]))
                    return self._go_on(self._read_call_tail, self._held[index + 1 :])
        self._give(CallArguments(self._held))
        self._held = ""
        return False

    def _read_call_tail(self) -> bool:
        _, found, after = self._held.partition(CALL_END)
        return bool(found) and self._go_on(self._read_content, after)

    def _go_on(self, state: Callable[[], bool], rest: str) -> bool:
        self._state, self._held, self._strips = state, rest, True
        return True

    def _take_back(self, text: str, rest: str) -> bool:
        """It was no call after all."""
        self._give(Content(self._gap + CALL + text))
        self._go_on(self._read_content, rest)
        self._strips = False
        return True

    def _take_whole_call(self, text: str) -> bool:
        """A call whose fields come in another order, or that has no arguments."""
        try:
            call: Any = json.loads(text)
        except ValueError:
            return False
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return False
        self._give(CallBegins(call["name"]))
        self._give(CallArguments(json.dumps(call.get("arguments", {}), ensure_ascii=False)))
        return True

    def _give(self, part: Part) -> None:
        if part[0]:
            self._parts.append(part)


def _partial(text: str, marker: str) -> int:
    """How many characters at the end of the text may be the beginning of the marker."""
    return next((size for size in range(min(len(marker) - 1, len(text)), 0, -1) if text.endswith(marker[:size])), 0)
