"""Telling the parts of a reply apart, however its text is cut into pieces."""

from __future__ import annotations

import json

import pytest

from app.text.chat_format import (
    CallArguments,
    CallBegins,
    ChatFormat,
    Content,
    Part,
    Reasoning,
    ReplyReader,
)

BOTH = ChatFormat(thinks=True, calls_tools=True)
WEATHER = '{"name": "get_weather", "arguments": {"city": "Zürich", "days": [1, 2]}}'


def read(text: str, *, size: int = 10_000, chat_format: ChatFormat = BOTH, is_thinking: bool = False) -> list[Part]:
    """The parts, with those of a kind that follow one another put together."""
    reader = ReplyReader(chat_format, is_thinking=is_thinking)
    parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])] + reader.finish()
    joined: list[Part] = []
    for part in parts:
        if joined and not isinstance(part, CallBegins) and type(joined[-1]) is type(part):
            joined[-1] = type(part)(joined[-1][0] + part[0])
        else:
            joined.append(part)
    return joined


REPLIES: dict[str, list[Part]] = {
    "just text, 3 < 4": [Content("just text, 3 < 4")],
    "  indented\n\ntext\n": [Content("  indented\n\ntext\n")],
    "": [],
    "<think>\n2 + 2\n\nis 4\n</think>\n\nFour.": [Reasoning("2 + 2\n\nis 4"), Content("Four.")],
    "<think>\n\n</think>\n\nHi": [Content("Hi")],
    "<think>cut off": [Reasoning("cut off")],
    "<think> a </thin": [Reasoning("a </thin")],
    "say <think> aloud": [Content("say <think> aloud")],
    "<thinking>": [Content("<thinking>")],
    "<thi": [Content("<thi")],
    f"<tool_call>\n{WEATHER}\n</tool_call>": [
        CallBegins("get_weather"),
        CallArguments('{"city": "Zürich", "days": [1, 2]}'),
    ],
    "<think>\nhm\n</think>\n\nLet me look." + 2 * f"\n<tool_call>\n{WEATHER}\n</tool_call>": [
        Reasoning("hm"),
        Content("Let me look."),
        *[CallBegins("get_weather"), CallArguments('{"city": "Zürich", "days": [1, 2]}')] * 2,
    ],
    '<tool_call>{"name": "f", "arguments": {"text": "a \\"}\\" <tool_call> {"}}</tool_call>after': [
        CallBegins("f"),
        CallArguments('{"text": "a \\"}\\" <tool_call> {"}'),
        Content("after"),
    ],
    '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>': [CallBegins("f"), CallArguments('{"a": 1}')],
    '<tool_call>{"name": "now"}</tool_call>': [CallBegins("now"), CallArguments("{}")],
    '<tool_call>{"name": "now"}': [CallBegins("now"), CallArguments("{}")],
    '<tool_call>{"name": "f", "arguments": {"a": [1': [CallBegins("f"), CallArguments('{"a": [1')],
    '<tool_call>{"nam</tool_call> oh': [Content('<tool_call>{"nam</tool_call> oh')],
    "<tool_call>[1]</tool_call>": [Content("<tool_call>[1]</tool_call>")],
    '<tool_call>{"nam': [Content('<tool_call>{"nam')],
    "use <tool_call> to call": [Content("use <tool_call> to call")],
    "a <tool": [Content("a <tool")],
    f"a <tool_call>b</tool_call> c <tool_call>{WEATHER}": [
        Content("a <tool_call>b</tool_call> c"),
        CallBegins("get_weather"),
        CallArguments('{"city": "Zürich", "days": [1, 2]}'),
    ],
}


@pytest.mark.parametrize("text", REPLIES)
def test_a_reply_is_read_the_same_however_it_is_cut(text: str) -> None:
    for size in (1, 2, 3, 5, 7, 11, 10_000):
        assert read(text, size=size) == REPLIES[text]


def test_reasoning_that_the_prompt_has_begun_goes_on() -> None:
    for size in (1, 100):
        assert read("\nhm\n</think>\nyes", size=size, is_thinking=True) == [Reasoning("hm"), Content("yes")]


def test_text_is_passed_on_as_soon_as_it_cannot_be_markup() -> None:
    reader = ReplyReader(BOTH)
    assert reader.feed("<") == []
    assert reader.feed("b>") == [Content("<b>")]
    assert reader.feed("x <tool") == [Content("x")]
    assert reader.feed("s>") == [Content(" <tools>")]
    assert reader.feed('<tool_call>{"name": "f", "arguments": {"a') == [CallBegins("f"), CallArguments('{"a')]
    assert reader.feed('": 1') == [CallArguments('": 1')]
    assert reader.feed("}}") == [CallArguments("}")]


def test_markup_of_a_model_that_does_not_use_it_is_text() -> None:
    text = f"<think>a</think> <tool_call>{WEATHER}</tool_call>"
    assert read(text, size=1, chat_format=ChatFormat()) == [Content(text)]


def test_whole_calls_have_valid_arguments() -> None:
    [_, arguments] = read(f"<tool_call>{WEATHER}</tool_call>")
    assert json.loads(arguments[0]) == {"city": "Zürich", "days": [1, 2]}


def test_a_template_shows_what_its_model_writes() -> None:
    assert ChatFormat.of("{{ messages }}") == ChatFormat()
    assert ChatFormat.of("{% if tools %}<tool_call>{% endif %}") == ChatFormat(calls_tools=True)
    assert ChatFormat.of("{{ content.split('</think>')[-1] }}") == ChatFormat(thinks=True)
    assert ChatFormat.of("{% if tools %}<tool_call><function=f>{% endif %}") == ChatFormat()
