"""Grammars of replies: what the templates write is allowed, and what is allowed is read as calls that are valid."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher

from app.constraints.build import build
from app.constraints.calls import CallableTool
from app.constraints.check import _byte_tokens, check
from app.constraints.errors import ConstraintError
from app.constraints.reply import Calls, Thinking, compile_reply
from app.messages import Constraint, ConstraintKind
from app.text.replies.format import ReplyFormat
from app.text.replies.parts import Content
from tests.reply_cases import CASES, EVERY, TOOLS, calls_of, format_of, read, text_of, written

OFFERED = tuple(CallableTool(name, json.dumps(schema)) for name, schema in TOOLS.items())
CLOSED = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b c"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "is_new": {"type": "boolean"},
        "text": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2},
    },
    "required": ["count", "text"],
    "additionalProperties": False,
}
PERSON = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
ENDS = ("<|call|>",)


class Follower:
    """Follows a constraint of a reply whose every special token is written as its bytes are."""

    def __init__(self, constraint: Constraint | None) -> None:
        assert constraint is not None
        self._tokens = _byte_tokens(frozenset())
        self._fresh = build(self._tokens, check(constraint).text)

    def takes(self, text: str) -> bool:
        matcher = self._fresh.deep_copy()
        data = list(text.encode())
        return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()

    def drawn(self, rng: random.Random, max_bytes: int) -> str | None:
        """A random reply; None if it has not ended after so many bytes."""
        matcher = self._fresh.deep_copy()
        said = bytearray()
        while len(said) < max_bytes:
            if matcher.is_accepting() and (rng.random() < 0.3 or not _allowed(matcher)):
                return said.decode()
            said.append(_drawn(rng, _allowed(matcher)))
            assert matcher.consume_token(said[-1])
        return None


def _allowed(matcher: LLMatcher) -> list[int]:
    mask = int.from_bytes(matcher.compute_bitmask(), "little")
    return [byte for byte in range(256) if mask >> byte & 1]


def _drawn(rng: random.Random, allowed: list[int]) -> int:
    """Markup and quotes more often than else, so that texts come to an end."""
    liked = [byte for byte in allowed if byte in b'<>/"}]|)\n']
    return rng.choice(liked if liked and rng.random() < 0.5 else [byte for byte in allowed if byte < 0x80] or allowed)


def reply(
    reply_format: ReplyFormat,
    calls: Calls | None = None,
    answer: Constraint | None = None,
    thinking: Thinking = Thinking.OVER,
) -> Constraint | None:
    return compile_reply(reply_format, thinking, answer, calls, {}, ENDS)


def called(template: str, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """What the template writes for the calls alone."""
    reply_format, _ = format_of(template)
    text = written(template, calls)
    if (reasoning := reply_format.reasoning) and reply_format.channels is None and reasoning.end in text:
        text = text.partition(reasoning.end)[2]
    for end in ENDS:
        text = text.strip("\n").removesuffix(end)
    return text


def in_order(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: arguments[key] for key in TOOLS[name]["properties"] if key in arguments}


@pytest.mark.parametrize("template", EVERY)
def test_what_the_template_writes_is_allowed(template: str) -> None:
    reply_format, _ = format_of(template)
    follower = Follower(reply(reply_format, Calls(OFFERED, are_required=True)))
    for case, calls in CASES.items():
        ordered = [(name, in_order(name, arguments)) for name, arguments in calls]
        text = called(template, ordered)
        if len(calls) > 1 and calls[1][0] not in text:  # the template takes one call at most
            continue
        if any(each in text for each in ("{'a'", "True", "None", *ENDS)):  # as Python, or behind the end
            continue
        assert follower.takes(text), (case, text)


@pytest.mark.parametrize("template", EVERY)
def test_whatever_is_allowed_is_read_as_valid_calls(template: str) -> None:
    reply_format, _ = format_of(template)
    offered = (CallableTool("first", json.dumps(CLOSED)), CallableTool("second.tool"))
    schemas = {"first": CLOSED, "second.tool": {"type": "object", "maxProperties": 0}}
    follower = Follower(reply(reply_format, Calls(offered, are_required=True)))
    rng = random.Random(template)
    num_read = 0
    for _ in range(60):
        if (text := follower.drawn(rng, 400)) is None:
            continue
        parts, is_broken = read(reply_format, [text], tools=schemas)
        assert not is_broken, text
        assert not text_of(parts, Content), text
        calls = calls_of(parts)
        assert calls, text
        for name, arguments in calls:
            jsonschema.validate(arguments, schemas[name])
            num_read += 1
    assert num_read > 5


@pytest.mark.parametrize("template", EVERY)
def test_of_calls_that_are_not_parallel_there_is_one(template: str) -> None:
    reply_format, _ = format_of(template)
    follower = Follower(reply(reply_format, Calls((CallableTool("now"),), are_required=True, are_parallel=False)))
    rng = random.Random(1)
    for _ in range(10):
        text = follower.drawn(rng, 400)
        assert text is not None
        assert len(calls_of(read(reply_format, [text], tools={"now": {}})[0])) == 1


@pytest.mark.parametrize("template", EVERY)
def test_an_answer_or_calls_follow_the_reasoning(template: str) -> None:
    reply_format, _ = format_of(template)
    answer = check(Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(PERSON)))
    call = called(template, [("now", {})])
    said = '<|channel|>final<|message|>{"a": 1}' if reply_format.channels else '{"a": 1}'
    assert reply_format.calls is not None
    if reply_format.calls.openings or reply_format.channels:
        both = Follower(reply(reply_format, Calls(OFFERED), answer))
        for text, is_allowed in ((said, True), (call, True), (f"x{said}", False)):
            assert both.takes(text) is is_allowed, text
    if (reasoning := reply_format.reasoning) is None:
        return
    begun = Follower(reply(reply_format, None, answer, Thinking.BEGUN))
    possible = Follower(reply(reply_format, None, answer, Thinking.POSSIBLE))
    gap = reasoning.end_text.partition(reasoning.end)[2].removesuffix(reasoning.content_begin)
    thought = f'Hm, {{"a": x.{reasoning.end}{gap}'
    assert begun.takes(thought + said)
    assert not begun.takes(said)
    assert possible.takes(said)
    assert possible.takes(f"{reasoning.begin}{thought}{said}")
    assert not possible.takes(f"{thought}{said}")
    assert not possible.takes(f"{reasoning.begin}{thought}no")


def has_markup(template: str) -> bool:
    reply_format, _ = format_of(template)
    return bool(reply_format.calls and reply_format.calls.openings) and reply_format.channels is None


@pytest.mark.parametrize("template", [each for each in EVERY if has_markup(each.values[0])])
def test_free_text_is_held_to_nothing_until_a_call_begins(template: str) -> None:
    reply_format, _ = format_of(template)
    assert reply_format.calls is not None
    follower = Follower(reply(reply_format, Calls(OFFERED)))
    call = called(template, [("now", {})])
    assert follower.takes('Well, {"name": "now"} [x] <b> é.')
    assert follower.takes(f"Let me look.\n{call}")
    for opening in reply_format.calls.openings:
        assert not follower.takes(f"It is {opening} that begins it.")


@pytest.mark.parametrize("thinking", Thinking)
def test_markup_within_reasoning_is_free(thinking: Thinking) -> None:
    template = next(each.values[0] for each in EVERY if each.id == "hermes")
    reply_format, _ = format_of(str(template))
    follower = Follower(reply(reply_format, Calls(OFFERED), thinking=thinking))
    call = written(str(template), [("now", {})])
    begin = {Thinking.BEGUN: "", Thinking.POSSIBLE: "<think>", Thinking.OVER: None}[thinking]
    if begin is None:
        assert not follower.takes(f"<think><tool_call>x</think>{call}")
        return
    assert follower.takes(f"{begin}<tool_call>x</think>{call} and more")
    assert follower.takes(f"{begin}I never end")
    assert not follower.takes(f"{begin}<tool_call>x</think><tool_call>x")


def test_what_cannot_be_held_is_refused_where_it_must_be() -> None:
    bare = next(format_of(each.values[0])[0] for each in EVERY if each.id == "llama, bare JSON")
    unknown = ReplyFormat(shows_tools=True)
    assert reply(bare, Calls(OFFERED)) is None
    assert reply(unknown, Calls(OFFERED)) is None
    strict = (CallableTool("now", strict=True),)
    for form, calls in (
        (bare, Calls(strict)),
        (bare, Calls(OFFERED, are_parallel=False)),
        (unknown, Calls(OFFERED, True)),
    ):
        with pytest.raises(ConstraintError):
            reply(form, calls)
