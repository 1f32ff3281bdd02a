"""Reads replies by the description that a checkpoint brings for transformers' ResponseParser."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from app.text.replies.format import ReplyFormat
from app.text.replies.parts import CallArguments, CallBegins, Content, Part, Reasoning, Tools

if TYPE_CHECKING:
    from transformers.utils.chat_parsing import ResponseParser

CALLS = "tool_calls"
REASONING = ("reasoning_content", "thinking", "reasoning")


def is_readable(template: object) -> bool:
    """Whether this version of transformers reads such a description. Older ones have no parser for it."""
    if not isinstance(template, Mapping):
        return False
    try:
        from transformers.utils.chat_parsing.response_templates import load_response_template

        load_response_template(dict(template))
    except (ImportError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _all_optional(template: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing has to be in a reply: what there is of it is always shown."""
    fields = {name: {**field, "optional": True} for name, field in template["fields"].items()}
    return {**template, "fields": fields}


def _behind(parts: Iterable[Part], num_chars: int) -> Iterator[Part]:
    """The parts without this many characters at their beginning."""
    for part in parts:
        if len(part[0]) > num_chars:
            yield type(part)(part[0][num_chars:])
        num_chars = max(num_chars - len(part[0]), 0)


class TemplateReader:
    """A Reader (see there). Content and reasoning are passed on as they arrive, calls when they are complete.

    The parser does not keep the markup of a call: one of a tool that is not offered becomes content without it.
    """

    def __init__(self, reply_format: ReplyFormat, tools: Tools | None = None, *, begun: str = "") -> None:
        """`begun` is what the prompt has written of the reply."""
        assert reply_format.response_template is not None
        self.has_broken_call = False
        self._template, self._begun = _all_optional(reply_format.response_template), begun
        self._tools = tools if tools and reply_format.calls_tools else {}
        self._call = ""  # the text of the call that is being read
        self._fed: list[str] = []
        self._num_given = 0  # characters of all parts
        self._parser: ResponseParser | None = self._begin()

    def feed(self, text: str) -> list[Part]:
        if self._parser is None:
            return [Content(text)] if text else []
        self._fed.append(text)
        try:
            parts = self._parts(self._parser.feed(text))
        except (ValueError, KeyError):
            return self._give_up()
        self._num_given += sum(len(part[0]) for part in parts)
        return parts

    def finish(self, *, was_cut: bool = False) -> list[Part]:
        if self._parser is None:
            return []
        call = self._call
        try:
            _, events = self._parser.finalize()
        except (ValueError, KeyError):  # the reply ends within a call
            return [] if was_cut or not call else [Content(call)]
        if was_cut and call:
            events = [event for event in events if event["field"] != CALLS]
        return self._parts(events)

    def _begin(self) -> ResponseParser:
        from transformers.utils.chat_parsing import ResponseParser

        offered: list[Any] = [
            {"type": "function", "function": {"name": name, "parameters": dict(schema)}}
            for name, schema in self._tools.items()
        ]
        return ResponseParser(self._template, prefix=self._begun, tools=offered)

    def _give_up(self) -> list[Part]:
        """The parser could not read a call, and can neither go on nor say what came before it in the last text: read
        all of the reply again, up to that call. It and all that follows it is content.
        """
        self._parser, self._call = None, ""
        parser, text = self._begin(), "".join(self._fed)
        parts: list[Part] = []
        at = 0
        try:
            for at, char in enumerate(text):  # noqa: B007
                parts += self._parts(parser.feed(char))
        except (ValueError, KeyError):
            parts.append(Content(self._call + text[at + 1 :]))
        return list(_behind(parts, self._num_given))

    def _parts(self, events: list[dict[str, Any]]) -> list[Part]:
        parts: list[Part] = []
        for event in events:
            field, kind = event["field"], event["type"]
            if field == CALLS:
                parts += self._of_call(event)
            elif kind == "region_chunk":
                parts.append(Reasoning(event["text"]) if field in REASONING else Content(event["text"]))
        return parts

    def _of_call(self, event: dict[str, Any]) -> list[Part]:
        if event["type"] == "region_chunk":
            self._call += event["text"]
        if event["type"] != "region_close":
            return []
        text, self._call = self._call, ""
        values = event["value"] if isinstance(event["value"], list) else [event["value"]]
        calls = [self._read(value) for value in values]
        if not calls or None in calls:
            return [Content(text)] if text else []
        return [part for call in calls if call for part in call]

    def _read(self, value: Any) -> tuple[CallBegins, CallArguments] | None:
        """A call of an offered tool, from the form of a message in a chat; None if it is none."""
        function = value.get("function", value) if isinstance(value, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or name not in self._tools:
            return None
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                return None
        if not isinstance(arguments, dict):
            return None
        try:
            return CallBegins(name), CallArguments(json.dumps(arguments, ensure_ascii=False, allow_nan=False))
        except ValueError:
            return None
