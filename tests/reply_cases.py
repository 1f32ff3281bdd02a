"""Calls to write in every format of replies, and how they are written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.text.replies.format import ReplyFormat
from app.text.replies.opening import open_reader
from app.text.replies.parts import CallArguments, CallBegins, Content, Part, Reasoning, Schema
from app.text.replies.probe import Probe
from tests.reply_templates import TEMPLATES
from tests.scripted_engine import byte_tokenizer

PUBLISHED = Path(__file__).parents[2] / "shared" / "templates"
WITHOUT_CALLS = ("phi-3.5-mini", "smollm3")
"""Published templates that write no calls at all."""

Call = tuple[str, dict[str, Any]]

TOOLS: dict[str, Schema] = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
    "store-all": {
        "type": "object",
        "properties": {
            "options": {"type": "object"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "flag": {"type": "boolean"},
            "ratio": {"type": "number"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "text": {"type": "string"},
        },
    },
    "now": {"type": "object", "properties": {}},
}
USER = {"role": "user", "content": "Well?"}
PARIS: Call = ("get_weather", {"city": "Paris", "days": 3})
NESTED: Call = (
    "store-all",
    {
        "options": {"a": [1, {"b": None, "c": True}], "d": {}, "e": 'it\'s "x"'},
        "tags": ["x", "é"],
        "flag": False,
        "ratio": -1.5e-3,
        "note": None,
        "text": "12",
    },
)
CASES: dict[str, list[Call]] = {
    "two parameters": [PARIS],
    "two calls": [PARIS, ("now", {})],
    "nested JSON": [NESTED],
    "non-ASCII": [("get_weather", {"city": "Zürich, 日本 😀"})],
    "an empty object": [("now", {})],
    "lines": [("store-all", {"text": "one\n\ttwo \"three\" \\n 'four' {5} [6], (7)=8\n\n"})],
    "an empty string": [("store-all", {"text": "", "flag": True})],
}


@cache
def format_of(template: str) -> tuple[ReplyFormat, Probe]:
    """The format, also of a template that leaves it to the conversation to say which tools there are."""
    tokenizer = byte_tokenizer(template)
    return replace(tokenizer.reply_format, shows_tools=True), Probe(tokenizer._chat_template.render)


def told(calls: list[Call]) -> list[dict[str, Any]]:
    """Calls as they stand in a message."""
    ids = ("abcdefghi", "ABCDEFGHI")
    return [
        {"id": ids[at], "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate(calls)
    ]


def written(template: str, calls: list[Call], **fields: Any) -> str:
    """What the template writes for an answer with these calls, as its model would have written it."""
    reply_format, probe = format_of(template)
    text = probe.turn(USER, {"role": "assistant", "content": ""} | fields | {"tool_calls": told(calls)}, tools=True)
    _, _, end = probe(USER, {"role": "assistant", "content": "said"}).rpartition("said")
    text = text.removesuffix(end) if end else text
    if reply_format.reasoning and text.startswith(reply_format.reasoning.end):
        return text.removeprefix(reply_format.reasoning.end)  # the prompt has written this, so that it does not reason
    return text


def joined(parts: list[Part]) -> list[Part]:
    """The parts, with those of a kind that follow one another put together."""
    found: list[Part] = []
    for part in parts:
        if found and not isinstance(part, CallBegins) and type(found[-1]) is type(part):
            found[-1] = type(part)(found[-1][0] + part[0])
        else:
            found.append(part)
    return found


def read(reply_format: ReplyFormat, pieces: list[str], begun: str = "", tools: Any = TOOLS) -> tuple[list[Part], bool]:
    reader = open_reader(reply_format, tools, begun=begun)
    parts = [part for piece in pieces for part in reader.feed(piece)]
    return joined(parts + reader.finish()), reader.has_broken_call


def read_everyhow(reply_format: ReplyFormat, text: str, begun: str = "") -> list[Part]:
    """The parts of a complete reply, which are the same wherever its text is divided."""
    whole, is_broken = read(reply_format, [text], begun)
    assert not is_broken
    for at in range(1, len(text)):
        assert read(reply_format, [text[:at], text[at:]], begun) == (whole, False), text[:at]
    assert read(reply_format, list(text), begun) == (whole, False)
    return whole


def calls_of(parts: list[Part]) -> list[Call]:
    names = [part.name for part in parts if isinstance(part, CallBegins)]
    arguments = [json.loads(part.text) for part in parts if isinstance(part, CallArguments)]
    return list(zip(names, arguments, strict=True))


def text_of(parts: list[Part], kind: type[Content | Reasoning]) -> str:
    return "|".join(part.text for part in parts if isinstance(part, kind))


def published() -> Iterator[Any]:
    for path in sorted(PUBLISHED.glob("*.jinja")):
        if path.stem not in WITHOUT_CALLS:
            yield pytest.param(path.read_text(encoding="utf-8"), id=path.stem)


EVERY = [*(pytest.param(template, id=name) for name, template in TEMPLATES.items()), *published()]
