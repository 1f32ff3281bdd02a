"""Replies of a chat model as grammars: reasoning in free text, then an answer that is held to a form, or calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from app.constraints.calls import CallableTool, CallWriter
from app.constraints.errors import ConstraintError
from app.constraints.json_text import write_json
from app.constraints.lark_writer import LarkWriter
from app.messages import Constraint, ConstraintKind
from app.text.replies.format import ReplyFormat

_BLANKS = r"/[ \n]{0,4}/"


class Thinking(Enum):
    """Where a reply begins: within reasoning that the prompt has opened, where there may be some, or behind it."""

    BEGUN = "begun"
    POSSIBLE = "possible"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Calls:
    """The tools that a reply may call, or must call."""

    tools: tuple[CallableTool, ...]
    are_required: bool = False
    are_parallel: bool = True


def compile_reply(
    reply_format: ReplyFormat,
    thinking: Thinking,
    answer: Constraint | None,
    calls: Calls | None,
    special_tokens: Mapping[str, int],
    ends: Sequence[str] = (),
) -> Constraint | None:
    """The constraint of a whole reply; None if it may be any text.

    `answer` is COMPILED, and what the reply is held to unless it calls. `special_tokens` (name to id) may be part of
    a reply, those in `ends` end it. Raises ConstraintError where calls are required, a strict tool is offered or both
    answers and calls have a form, and this format cannot be enforced.
    """
    writer = _ReplyWriter(reply_format, thinking, special_tokens)
    if calls is None:
        start = None if answer is None else writer.behind_reasoning(writer.answer)
    elif answer is None and not calls.are_required:
        start = _write_free_text(writer, calls, ends)
    else:
        if reply_format.calls is None:
            message = "The form in which this model calls tools cannot be enforced, so that calls can only be `auto`."
            raise ConstraintError(message)
        if answer is not None and not (reply_format.calls.openings or reply_format.channels):
            message = "This model's calls have no markup, so that they cannot be told from an answer that has a form."
            raise ConstraintError(message)
        called = CallWriter(writer, reply_format.calls, calls.tools, ends).calls(are_parallel=calls.are_parallel)
        is_answer = answer is not None and not calls.are_required
        start = writer.behind_reasoning(f"({writer.answer} | {called})" if is_answer else called)
    if start is None:
        return None
    if start == "@answer":
        return answer
    grammars = [{"lark_grammar": writer.grammar(start)}, *(_named(answer) if answer is not None else ())]
    return Constraint(ConstraintKind.COMPILED, write_json({"grammars": grammars}, "The constraint"))


def _named(answer: Constraint) -> list[object]:
    """The grammars of an answer, of which the first is the root, under the name by which the reply refers to it."""
    first, *others = json.loads(answer.text)["grammars"]
    return [{**first, "name": "answer"}, *others]


def _write_free_text(writer: _ReplyWriter, calls: Calls, ends: Sequence[str]) -> str | None:
    """Any text in which calls are held to their form from where they begin; None if that cannot be seen."""
    form = writer.reply_format
    if form.calls is None or not form.calls.openings or form.channels is not None:
        strict = next((f"the tool {tool.name!r} is strict" for tool in calls.tools if tool.strict), None)
        if asked := strict or (None if calls.are_parallel else "calls may not be parallel"):
            message = f"Calls of this model are held to a form only where they are required, and {asked}."
            raise ConstraintError(message)
        return None
    return writer.free_text(CallWriter(writer, form.calls, calls.tools, ends), form.calls.openings, calls)


class _ReplyWriter(LarkWriter):
    """Writes what stands before and around answers and calls."""

    def __init__(self, reply_format: ReplyFormat, thinking: Thinking, special_tokens: Mapping[str, int]) -> None:
        super().__init__(special_tokens)
        self.reply_format = reply_format
        self._reasoning = reply_format.reasoning
        self._thinking = thinking if self._reasoning is not None else Thinking.OVER

    @property
    def answer(self) -> str:
        """The answer, with what encloses it."""
        if channels := self.reply_format.channels:
            return f"{self.text(f'{channels.channel}final{channels.message}')} @answer"
        reasoning = self._reasoning
        if reasoning is None or not reasoning.content_begin:
            return "@answer"
        begin, end = self.text(reasoning.content_begin), self.text(reasoning.content_end)
        return f"(@answer | {begin} @answer {end})"

    def behind_reasoning(self, expression: str) -> str:
        """What begins where no reasoning is left to come."""
        if self._thinking is Thinking.OVER:
            return expression
        assert self._reasoning is not None
        _, _, gap = self._reasoning.end_text.partition(self._reasoning.end)
        gap = gap.removesuffix(self._reasoning.content_begin)
        ended = f"{self.text_until(self._reasoning.end)} {self.text(gap) if gap.strip() else _BLANKS}"
        if self._thinking is Thinking.BEGUN:
            return f"{ended} {expression}"
        return f"({self.text(self._reasoning.begin)} {ended})? {expression}"

    def free_text(self, written: CallWriter, openings: Sequence[str], calls: Calls) -> str:
        """Any text, in which a call goes on as it must once one of its openings is there."""

        def body(first: str) -> str:
            once = self._call_within(first, written, openings, calls)
            if not calls.are_parallel:
                return self.rule(f"{first} | {once}")
            again = self._call_within("TEXT", written, openings, calls)
            return self.rule(f"{first} | {once} {again}* TEXT")

        if self._thinking is Thinking.OVER:
            return body("TEXT")
        assert self._reasoning is not None
        thought = self.rule(f"TEXT | {self.text_until(self._reasoning.end)} {body('TEXT')}")
        if self._thinking is Thinking.BEGUN:
            return thought
        # Without this, text that begins like reasoning would be read as either.
        self.rules.append(rf"UNTHINKING: /(?s:.*)/ & ~/(?s:{_escaped(self._reasoning.begin)}.*)/")
        return f"{self.text(self._reasoning.begin)} {thought} | {body('UNTHINKING')}"

    def _call_within(self, text: str, written: CallWriter, openings: Sequence[str], calls: Calls) -> str:
        """Any text up to a call, and that."""
        calling = [
            f"{self.text_until(opening, text)} {written.behind(opening, are_parallel=calls.are_parallel)}"
            for opening in openings
        ]
        return self.rule(" | ".join(calling))


def _escaped(text: str) -> str:
    return re.sub(r"([^\w\s<>:])", r"\\\1", text)
