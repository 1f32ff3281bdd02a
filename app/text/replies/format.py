"""How a model writes reasoning and tool calls, as data.

A reply with calls is, exactly as the model's chat template writes it:

    section_begin  call_begin NAME after_name ARGUMENTS call_end  [separator  call_begin … call_end]…  section_end

The readers derive from this what they look for, and are lenient about white space, the order of keys and what models
leave out. A grammar for a constrained call follows the texts to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.text.replies.markup import is_tag, marks_of, tokens_of


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """Reasoning stands between `begin` and `end`, at the beginning of a reply.

    `end_text` is all that the template writes to end the reasoning, with its white space: what a model is made to write
    when it has thought enough. Some models also enclose what follows (`content_begin`, `content_end`).
    """

    begin: str
    end: str
    end_text: str
    content_begin: str = ""
    content_end: str = ""


@dataclass(frozen=True, slots=True)
class JsonCalls:
    """Name and arguments are values of a JSON object, in a list of them if the brackets are part of the section.

    Without a `name_key` the name is itself the key of the arguments. `has_leading_keys`: other keys stand before the
    name, such as an id.
    """

    name_key: str | None = "name"
    arguments_key: str = "arguments"
    has_leading_keys: bool = False


@dataclass(frozen=True, slots=True)
class JsonArguments:
    """The arguments are a JSON object that follows the name."""


@dataclass(frozen=True, slots=True)
class TaggedArguments:
    """Each argument is `key_begin KEY key_end VALUE value_end`. Strings stand as they are, other values as JSON."""

    key_begin: str
    key_end: str
    value_end: str


@dataclass(frozen=True, slots=True)
class PythonArguments:
    """Keyword arguments: `KEY=VALUE, KEY=VALUE`, where values are Python literals."""


Arguments = JsonCalls | JsonArguments | TaggedArguments | PythonArguments


@dataclass(frozen=True)
class CallFormat:
    """The texts around names and arguments, as at the top of this module.

    Where the template writes an id or a number, the texts have the characters ID and NUMBER of
    `app.text.replies.markup` instead. Where it writes no more than one call, `separator` is None.
    """

    call_begin: str
    after_name: str
    call_end: str
    arguments: Arguments
    section_begin: str = ""
    section_end: str = ""
    separator: str | None = "\n"

    @property
    def begin(self) -> str:
        return self.section_begin + self.call_begin

    @property
    def end(self) -> str:
        return self.call_end + self.section_end

    @cached_property
    def openings(self) -> tuple[str, ...]:
        """The markup by which calls are noticed within a text; none if a call begins with nothing but itself."""
        if isinstance(self.arguments, JsonCalls | PythonArguments):
            tokens = tokens_of(self.begin)
            brackets = [index for index, token in enumerate(tokens) if token in ("{", "[")]
            opening = "".join(tokens[: brackets[0]] if brackets else tokens).strip()
            return (opening,) if opening else ()
        section, call = marks_of(self.section_begin), marks_of(self.call_begin)
        tags = [mark for mark in call if is_tag(mark)]
        return tuple(dict.fromkeys(mark for mark in (*section[:1], *tags[:1], *tags[-1:]) if is_tag(mark)))

    @property
    def is_readable(self) -> bool:
        """Whether a reader can tell calls apart: by their markup, or because they are JSON or Python at a line's start,
        and their arguments by tags.
        """
        if isinstance(self.arguments, TaggedArguments):
            tags = (self.arguments.key_begin, self.arguments.key_end, self.arguments.value_end)
            return bool(self.openings) and all(map(marks_of, tags)) and is_tag(marks_of(tags[2])[0])
        return bool(self.openings) or isinstance(self.arguments, JsonCalls | PythonArguments)

    @cached_property
    def closing(self) -> tuple[str, ...]:
        """The marks that follow the last bracket of calls that are written as JSON or Python."""
        marks = marks_of(self.end)
        last = max((index for index, mark in enumerate(marks) if mark in ("}", "]", ")")), default=-1)
        return marks[last + 1 :]


@dataclass(frozen=True, slots=True)
class ChannelFormat:
    """A reply is a row of messages, each with a header that names its channel and whom it is for (harmony):

    `<|channel|>analysis<|message|>…<|end|><|start|>assistant to=functions.NAME<|channel|>commentary json<|message|>{…}`
    """

    start: str = "<|start|>"
    channel: str = "<|channel|>"
    message: str = "<|message|>"
    constrain: str = "<|constrain|>"
    ends: tuple[str, ...] = ("<|end|>", "<|call|>", "<|return|>")
    reasoning_channel: str = "analysis"
    recipient: str = "to=functions."

    @property
    def marks(self) -> tuple[str, ...]:
        return (self.start, self.channel, self.message, self.constrain, *self.ends)


@dataclass(frozen=True)
class ReplyFormat:
    """Which markup the replies of a model may contain, as far as this server reads it.

    `shows_tools`: the chat template tells the model which tools there are. `response_template` comes with the
    checkpoint, in the form of transformers' ResponseParser, and describes all of a reply in place of the others.
    """

    reasoning: ReasoningFormat | None = None
    calls: CallFormat | None = None
    channels: ChannelFormat | None = None
    shows_tools: bool = False
    response_template: Mapping[str, Any] | None = None

    @property
    def calls_tools(self) -> bool:
        """Whether tools may be offered: the model gets to know them, and its calls are read."""
        return self.shows_tools and self.reads_calls

    @property
    def reads_calls(self) -> bool:
        if self.response_template is not None:
            return "tool_calls" in self.response_template.get("fields", {})
        return self.calls is not None

    def markup(self, *, with_tools: bool) -> str:
        """All texts in which a reader looks for something. A special token that is part of it must not be skipped."""
        reasoning, calls = self.reasoning, self.calls if with_tools else None
        texts = list(self.channels.marks) if self.channels else []
        for name, field in (self.response_template or {}).get("fields", {}).items():
            if with_tools or name != "tool_calls":
                texts += _delimiters(field)
        if reasoning:
            texts += [reasoning.begin, reasoning.end, reasoning.content_begin, reasoning.content_end]
        if calls:
            texts += [calls.begin, calls.after_name, calls.separator or "", calls.end]
        if calls and isinstance(calls.arguments, TaggedArguments):
            texts += [calls.arguments.key_begin, calls.arguments.key_end, calls.arguments.value_end]
        return "\n".join(texts)


def _delimiters(field: Mapping[str, Any]) -> Iterator[str]:
    """What begins and ends a field of a response template; of a pattern the characters that it stands for."""
    for key in ("open", "close"):
        literals = field.get(key, [])
        yield from [literals] if isinstance(literals, str) else literals
        yield re.sub(r"\\(.)", r"\1", field.get(f"{key}_pattern", ""))


THINK = ReasoningFormat("<think>", "</think>", "\n</think>\n\n")
HERMES = CallFormat(
    call_begin='<tool_call>\n{"name": "',
    after_name='", "arguments": ',
    call_end="}\n</tool_call>",
    arguments=JsonCalls(),
)
"""What is assumed of templates that show only by a word of theirs what their model writes."""
BARE_JSON = CallFormat('{"name": "', '", "parameters": ', "}", JsonCalls(arguments_key="parameters"))
PYTHON = CallFormat("", "(", ")", PythonArguments(), section_begin="[", section_end="]", separator=", ")
"""What models write that call with nothing but JSON or Python, some of them now the one and now the other."""
