"""Separating the parts of a reply, however its text is divided."""

from __future__ import annotations

import json
import random

import pytest

from app.text.replies.format import HERMES, THINK, ReplyFormat
from app.text.replies.parts import CallArguments, CallBegins, Content, Part, Reasoning, Schema
from app.text.replies.reader import ReplyReader

BOTH = ReplyFormat(reasoning=THINK, calls=HERMES, shows_tools=True)
TOOLS: dict[str, Schema] = {"get_weather": {}, "f": {}, "now": {}}
WEATHER = '{"name": "get_weather", "arguments": {"city": "Zürich", "days": [1, 2]}}'


def read(
    text: str,
    *,
    size: int = 10_000,
    reply_format: ReplyFormat = BOTH,
    is_thinking: bool = False,
    was_cut: bool = False,
) -> list[Part]:
    """The parts, with those of a kind that follow one another put together."""
    parts, _ = read_to_its_end(text, size, reply_format, is_thinking, was_cut)
    return parts


def read_to_its_end(
    text: str, size: int, reply_format: ReplyFormat = BOTH, is_thinking: bool = False, was_cut: bool = False
) -> tuple[list[Part], bool]:
    """The same, and whether a call is broken."""
    reader = ReplyReader(reply_format, TOOLS, is_thinking=is_thinking)
    parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
    parts += reader.finish(was_cut=was_cut)
    joined: list[Part] = []
    for part in parts:
        if joined and not isinstance(part, CallBegins) and type(joined[-1]) is type(part):
            joined[-1] = type(part)(joined[-1][0] + part[0])
        else:
            joined.append(part)
    return joined, reader.has_broken_call


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


IS_A_CALL: dict[str, list[Part]] = {
    '{"name": "f", "arguments": "{\\"a\\": 1}"}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"arguments": "{\\"a\\": 1}", "name": "f"}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"name": "f", "parameters": {"a": 1}}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"parameters": {"a": 1}, "name": "f"}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"name": "now", "arguments": null}': [CallBegins("now"), CallArguments("{}")],
    '{"name": "now", "arguments": ""}': [CallBegins("now"), CallArguments("{}")],
    '{"name": "f", "arguments": {"a": 1}, "id": 7}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"name": "f", "arguments": {"a": 1}': [CallBegins("f"), CallArguments('{"a": 1}')],
    '{"name": "f", "arguments": {"a": "\\ud83d\\ude00"}}': [
        CallBegins("f"),
        CallArguments('{"a": "\\ud83d\\ude00"}'),
    ],
}


@pytest.mark.parametrize("call", IS_A_CALL)
def test_a_call_may_be_written_in_several_ways(call: str) -> None:
    for size in (1, 2, 3, 10_000):
        parts, is_broken = read_to_its_end(f"<tool_call>{call}\n</tool_call>\nafter", size)
        assert (parts, is_broken) == ([*IS_A_CALL[call], Content("after")], False)


IS_NO_CALL = [
    '{"name": "other", "arguments": {"a": 1}}',
    '{"name": "get_weather\\ud800", "arguments": {"a": 1}}',
    '{"name": "\\ud800", "arguments": {"a": 1}}',
    '{"name": "get\\xweather", "arguments": {"a": 1}}',
    '{"name": "get\nweather", "arguments": {"a": 1}}',
    '{"name": "", "arguments": {"a": 1}}',
    '{"name": ["f"], "arguments": {"a": 1}}',
    '{"name": "f", "arguments": [1]}',
    '{"name": "f", "arguments": 1}',
    '{"name": "f", "arguments": "a"}',
    '{"name": "f", "arguments": "[1]"}',
    '{"name": "f", "arguments": "{\\"a\\": \\"\\\\ud83d\\"}"}',
    '{"name": "f", "args": {"a": 1}}',
    '{"arguments": {"a": 1e999}, "name": "f"}',
    '{"arguments": {"a": {{}}}, "name": "f"}',
    '{"arguments": {"a": 1}}',
    "{}",
    "{{}}",
    '"f"',
    "",
]


@pytest.mark.parametrize("call", IS_NO_CALL)
def test_what_is_no_call_of_an_offered_tool_is_content_unchanged(call: str) -> None:
    text = f"so: <tool_call>\n{call}\n</tool_call> and on"
    for size in (1, 2, 3, 10_000):
        assert read_to_its_end(text, size) == ([Content(text)], False)


BROKEN_ARGUMENTS: dict[str, tuple[str, str]] = {
    '{"a": {{}}}</tool_call> on': ('{"a": {', "{}}}</tool_call> on"),
    '{"a": "line\nline"}}</tool_call>': ('{"a": "line', '\nline"}}</tool_call>'),
    '{"a": "b\\ud83d"}}</tool_call>': ('{"a": "b', '\\ud83d"}}</tool_call>'),
    '{"a": NaN}}': ('{"a": ', "NaN}}"),
    '{"a": [1': ('{"a": [1', ""),
    '{"a": "b\\': ('{"a": "b\\', ""),
}


@pytest.mark.parametrize("arguments", BROKEN_ARGUMENTS)
def test_broken_arguments_are_reported_and_what_follows_is_content(arguments: str) -> None:
    """They have been passed on and cannot be taken back."""
    passed_on, content = BROKEN_ARGUMENTS[arguments]
    parts: list[Part] = [CallBegins("f"), CallArguments(passed_on), *([Content(content)] if content else [])]
    for size in (1, 2, 3, 10_000):
        assert read_to_its_end(f'<tool_call>{{"name": "f", "arguments": {arguments}', size) == (parts, True)


@pytest.mark.parametrize("head", ["", "\n", '{"na', '{"name": "get_', WEATHER[:37]])
def test_a_reply_that_is_cut_within_the_head_of_a_call_ends_before_it(head: str) -> None:
    for size in (1, 10_000):
        assert read(f"So:\n<tool_call>{head}", size=size, was_cut=True) == [Content("So:")]
        assert read(f"So:\n<tool_call>{head}", size=size) == [Content(f"So:\n<tool_call>{head}")]


def test_text_after_an_unclosed_call_is_content() -> None:
    for end in ("}", "", "}\n"):
        text = f"<tool_call>{WEATHER[:-1]}{end} There. <tool_call>{WEATHER}</tool_call>"
        for size in (1, 3, 10_000):
            parts = read(text, size=size)
            assert [part for part in parts if isinstance(part, Content)] == [Content("There.")]
            assert len([part for part in parts if isinstance(part, CallBegins)]) == 2


@pytest.mark.parametrize("text", REPLIES)
def test_a_reply_is_read_the_same_however_it_is_cut(text: str) -> None:
    for size in (1, 2, 3, 5, 7, 11, 10_000):
        assert read(text, size=size) == REPLIES[text]


def test_reasoning_that_the_prompt_has_begun_continues() -> None:
    for size in (1, 100):
        assert read("\nhm\n</think>\nyes", size=size, is_thinking=True) == [Reasoning("hm"), Content("yes")]
        assert read("<thinner", size=size, is_thinking=True) == [Reasoning("<thinner")]
        assert read(" <thi", size=size, is_thinking=True) == [Reasoning("<thi")]


def test_a_marker_that_the_prompt_has_written_is_dropped_where_the_model_repeats_it_and_only_once() -> None:
    for size in (1, 100):
        assert read("\n<think>\nhm</think>yes", size=size, is_thinking=True) == [Reasoning("hm"), Content("yes")]
        assert read("<think><think>hm", size=size, is_thinking=True) == [Reasoning("<think>hm")]


def test_text_is_passed_on_as_soon_as_it_cannot_be_markup() -> None:
    reader = ReplyReader(BOTH, TOOLS)
    assert reader.feed("<") == []
    assert reader.feed("b>") == [Content("<b>")]
    assert reader.feed("x <tool") == [Content("x")]
    assert reader.feed("s>") == [Content(" <tools>")]
    assert reader.feed('<tool_call>{"name": "f", "arguments": {"a') == [CallBegins("f"), CallArguments('{"a')]
    assert reader.feed('": 1') == [CallArguments('": ')]
    assert reader.feed("}}") == [CallArguments("1}")]


def test_markup_of_a_model_that_does_not_use_it_is_text() -> None:
    text = f"<think>a</think> <tool_call>{WEATHER}</tool_call>"
    assert read(text, size=1, reply_format=ReplyFormat()) == [Content(text)]


def test_whole_calls_have_valid_arguments() -> None:
    [_, arguments] = read(f"<tool_call>{WEATHER}</tool_call>")
    assert json.loads(arguments[0]) == {"city": "Zürich", "days": [1, 2]}


FRAGMENTS = [
    *IS_A_CALL,
    *IS_NO_CALL,
    WEATHER,
    WEATHER,
    '{"name": "f", "arguments": {"a": "<tool_call>", "b": "</tool_call>"}}',
    " Let me look. ",
    "\n",
    "<tool_call>",
    "</tool_call>",
    "</think>",
]


def random_reply(rng: random.Random) -> str:
    """Calls and text behind one another, with a few characters changed, and perhaps broken off."""
    fragments = rng.choices(FRAGMENTS, k=rng.randint(1, 5))
    text = "".join(
        f"<tool_call>\n{fragment}\n</tool_call>" if fragment.startswith("{") and rng.random() < 0.9 else fragment
        for fragment in fragments
    )
    characters = list(("<think>" if rng.random() < 0.2 else " ") + text)
    for _ in range(rng.choice([0, 0, 1, 3])):
        characters[rng.randrange(len(characters))] = rng.choice(["", *'{}[]",:\\<> \nx1', "\\ud83d", "</tool_call>"])
    return "".join(characters)[: rng.choice([10, 40, 80, None])]


@pytest.mark.parametrize("seed", range(500))
def test_whatever_a_model_writes_is_read_the_same_however_it_is_cut_and_can_be_used(seed: int) -> None:
    rng = random.Random(seed)
    text, was_cut, is_thinking = random_reply(rng), rng.random() < 0.3, rng.random() < 0.2
    reads = [read_to_its_end(text, size, BOTH, is_thinking, was_cut) for size in (1, 2, 3, 7, 10_000)]
    assert all(each == reads[0] for each in reads)
    parts, is_broken = reads[0]
    for part in parts:
        part[0].encode()
    calls = [part for part in parts if isinstance(part, CallBegins)]
    arguments = [part.text for part in parts if isinstance(part, CallArguments)]
    assert {call.name for call in calls} <= TOOLS.keys()
    assert len(arguments) == len(calls)
    if not is_broken:
        assert all(isinstance(json.loads(each), dict) for each in arguments)
    if not calls and not was_cut and not is_thinking and not text.lstrip().startswith("<think>"):
        assert parts == ([Content(text)] if text else [])
