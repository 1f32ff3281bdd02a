"""Finds out from what a chat template writes how calls of tools are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from app.text.replies.format import (
    HERMES,
    Arguments,
    CallFormat,
    JsonArguments,
    JsonCalls,
    PythonArguments,
    TaggedArguments,
)
from app.text.replies.markup import tokens_of
from app.text.replies.probe import ARGUMENTS, FIRST, SECOND, USER, Probe, call, calling, neutral

_DECODER = json.JSONDecoder()
_KEYS = tuple(ARGUMENTS)
_VALUES = tuple(map(str, ARGUMENTS.values()))


@dataclass(frozen=True, slots=True)
class _Region:
    """Where a call's name and arguments stand in a text."""

    name: int
    name_end: int
    arguments: int
    arguments_end: int
    kind: Arguments


def recognize_calls(probe: Probe, reasoning_end: str, turn_end: str) -> CallFormat | None:
    """The format of calls, or None. `reasoning_end` and `turn_end` are what else the template writes into a turn."""
    for arguments, content in product((ARGUMENTS, json.dumps(ARGUMENTS)), ("", None)):
        empty = {} if isinstance(arguments, dict) else "{}"
        turns = [
            _calls_only(probe.turn(USER, calling(*calls, content=content), tools=True), reasoning_end, turn_end)
            for calls in ([call(0, arguments)], [call(0, arguments), call(1, arguments)], [call(0, empty)])
        ]
        if found := _format_of(*turns):
            return found
    # Some templates say to the model how to call, and do not show what it has called.
    shown = probe(USER, calling(call(0, ARGUMENTS), content=""), tools=True)
    return HERMES if "<tool_call>" in shown and "<function=" not in shown else None


def _calls_only(turn: str, reasoning_end: str, turn_end: str) -> str:
    """A turn without its reasoning and its end."""
    before = turn.find(reasoning_end) if reasoning_end else -1
    if 0 <= before < turn.find(FIRST):
        turn = turn[before + len(reasoning_end) :]
    ending = _common(tokens_of(turn)[::-1], tokens_of(turn_end)[::-1], joins_reversed=True)
    return turn.removesuffix(ending).strip("\n")


def _format_of(one: str, two: str, empty: str) -> CallFormat | None:
    """The format that wrote the turns: with one call, two calls, and one without arguments."""
    region = _find(one, FIRST, 0)
    if region is None:
        return None
    after_name = one[region.name_end : region.arguments]
    kind = region.kind
    if isinstance(kind, TaggedArguments):
        after_name, kind = _without_what_follows_names(kind, empty.partition(FIRST)[2])
    begin, end = one[: region.name], one[region.arguments_end :]
    if isinstance(kind, TaggedArguments):
        end = end.removeprefix(kind.value_end)
    first = _find(two, FIRST, 0)
    second = _find(two, SECOND, first.arguments_end) if first else None
    found: dict[str, Any] = {"after_name": neutral(after_name), "arguments": kind}
    if first is None or second is None:
        return CallFormat(call_begin=neutral(begin), call_end=neutral(end), separator=None, **found)
    between = two[first.arguments_end : second.name]
    if isinstance(kind, TaggedArguments):
        between = between.removeprefix(kind.value_end)
    return replace(_sections(*map(neutral, (begin, between, end))), **found)


def _without_what_follows_names(tags: TaggedArguments, empty: str) -> tuple[str, TaggedArguments]:
    """What stands behind every name, and the tags without it. `empty` stands behind a name without arguments."""
    tokens = tokens_of(tags.key_begin)
    if empty:
        after_name = _common(tokens, tokens_of(empty))
    else:
        again = _common(tokens[::-1], tokens_of(tags.value_end)[::-1], joins_reversed=True)
        after_name = tags.key_begin.removesuffix(again)
    key_begin = tags.key_begin[len(after_name) :]
    return after_name, TaggedArguments(key_begin, tags.key_end, tags.value_end.removesuffix(key_begin))


def _sections(begin: str, between: str, end: str) -> CallFormat:
    """What belongs to each call and what to all of them, from what stands before, between and behind two calls. What
    stands within a call is not known here.
    """
    call_end = _common(tokens_of(between), tokens_of(end))
    rest = tokens_of(between[len(call_end) :])
    call_begin = _common(rest[::-1], tokens_of(begin)[::-1], joins_reversed=True)
    return CallFormat(
        call_begin=call_begin,
        after_name="",
        call_end=call_end,
        arguments=JsonArguments(),
        section_begin=begin[: len(begin) - len(call_begin)],
        section_end=end[len(call_end) :],
        separator="".join(rest)[: sum(map(len, rest)) - len(call_begin)],
    )


def _find(text: str, name: str, start: int) -> _Region | None:
    """A call of the name in a text, whatever form it has."""
    at = text.find(name, start)
    if at < 0:
        return None
    end = at + len(name)
    for position in _positions(text, "{", end):
        value, stop = _decoded(text, position)
        if value == ARGUMENTS:
            return _Region(at, end, position, stop, _json_calls(text, start, name) or JsonArguments())
    if text.startswith("(", end) and text.startswith(f"{_KEYS[0]}=", end + 1):
        last = text.find(_VALUES[1], end)
        stop = text.find(")", last)
        return _Region(at, end, end + 1, stop, PythonArguments()) if min(last, stop) > 0 else None
    return _find_tagged(text, at, end)


def _find_tagged(text: str, at: int, end: int) -> _Region | None:
    """A call whose arguments stand between tags. All that stands between the name and the first key is said to begin
    the key, and all that stands between a value and the next key to end the value.
    """
    positions, start = [], end
    for each in (_KEYS[0], _VALUES[0], _KEYS[1], _VALUES[1]):
        position = text.find(each, start)
        if position < 0:
            return None
        positions += [position, position + len(each)]
        start = positions[-1]
    key, key_end, value, value_end, next_key, next_key_end, next_value, last = positions
    if text[key_end:value] != text[next_key_end:next_value]:
        return None
    tags = TaggedArguments(text[end:key], text[key_end:value], text[value_end:next_key])
    return _Region(at, end, end, last, tags)


def _json_calls(text: str, start: int, name: str) -> JsonCalls | None:
    """How name and arguments stand in a JSON object, if they do."""
    for position in sorted({*_positions(text, "{", start), *_positions(text, "[", start)}):
        value, _ = _decoded(text, position)
        for each in value if isinstance(value, list) else [value]:
            each = each.get("function", each) if isinstance(each, dict) else {}
            if isinstance(each, dict) and each != ARGUMENTS and (found := _keys(each, name)):
                return found
    return None


def _keys(found: dict[str, Any], name: str) -> JsonCalls | None:
    if name in found:
        return JsonCalls(None, "")
    keys = {value: key for key, value in found.items() if isinstance(value, str)}
    arguments = next((key for key, value in found.items() if value == ARGUMENTS), None)
    if name not in keys or arguments is None:
        return None
    return JsonCalls(keys[name], arguments, has_leading_keys=next(iter(found)) != keys[name])


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at a position and where it ends; None if there is none."""
    try:
        return _DECODER.raw_decode(text, at)
    except ValueError:
        return None, at


def _positions(text: str, char: str, start: int) -> list[int]:
    return [at for at in range(start, len(text)) if text[at] == char]


def _common(tokens: Sequence[str], others: Sequence[str], *, joins_reversed: bool = False) -> str:
    """What both begin with, in whole tokens."""
    common = tokens[: _common_size(tokens, others)]
    return "".join(reversed(common) if joins_reversed else common)


def _common_size(some: Sequence[str], others: Sequence[str]) -> int:
    size = min(len(some), len(others))
    return next((at for at in range(size) if some[at] != others[at]), size)
