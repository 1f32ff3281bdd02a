"""Parsing a JSON object that arrives in parts: its end is the same however it is divided, and other texts have none."""

from __future__ import annotations

import json
import random

import pytest

from app.text.json_object import MAX_DEPTH, MAX_SCALAR_CHARS, JsonObject, is_object


def followed(text: str, size: int = 10_000) -> tuple[int, bool, bool]:
    """How far the text was taken, whether it is complete, and whether it is broken."""
    followed, taken = JsonObject(), 0
    for end in range(size, len(text) + size, size):
        taken += followed.feed(text[taken:end])
    return taken, followed.is_complete, followed.is_broken


OBJECTS = [
    "{}",
    ' {"a" : [ 1 , -2.5e+3, 0, true, false, null, [], {}, "x" ] }\n',
    '{"a": "\\n\\u00e9\\ud83d\\ude00\\uD83D\\uDE00\\uABcd \\"}\\\\", "": {"b": [[1], [2]]}}',
]


@pytest.mark.parametrize("text", OBJECTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_object_is_consumed_up_to_its_last_brace(text: str, size: int) -> None:
    assert followed(text + "}", size) == (len(text.rstrip()), True, False)
    assert is_object(text)


BROKEN = {
    "[1]": 0,
    "x": 0,
    "{{}}": 1,
    "{'a': 1}": 1,
    '{"a" 1}': 5,
    '{"a": 1,}': 8,
    '{"a": [1,]}': 9,
    '{"a": [1}': 8,
    '{"a": 01}': 6,
    '{"a": NaN}': 6,
    '{"a": tru}': 6,
    '{"a": 1x}': 6,
    '{"a": "\n"}': 7,
    '{"a": "b\\x"}': 8,
    '{"a": "b\\ud83d"}': 8,
    '{"a": "b\\ud83d\\u0041"}': 8,
    '{"a": "b\\ude00"}': 8,
    '{"a": "b\\N"}': 8,
    '{"a": "b\\U0041"}': 8,
}


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_an_unexpected_character_breaks_the_object_there(text: str, size: int) -> None:
    assert followed(text, size) == (BROKEN[text], False, True)
    assert not is_object(text)


@pytest.mark.parametrize(
    "begun", ['{"a": "x\\', '{"a": "x\\ud83', '{"a": "x\\ud83d\\ude0', '{"a": 12', '{"a": -', '{"a": nul']
)
def test_incomplete_escapes_and_scalars_are_not_consumed(begun: str) -> None:
    taken, is_complete, is_broken = followed(begun)
    assert (is_complete, is_broken) == (False, False)
    assert begun[:taken] in ('{"a": "x', '{"a": ')


def test_depth_and_numbers_are_bounded() -> None:
    assert is_object('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH)
    assert not is_object('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1))
    assert followed("[" * 2000)[2]
    assert is_object('{"a":%s}' % ("1" * MAX_SCALAR_CHARS))
    for size in (1, 10_000):
        assert followed('{"a":%s}' % ("1" * (MAX_SCALAR_CHARS + 1)), size)[2]


def test_it_stops_at_the_requested_depth() -> None:
    outer = JsonObject()
    assert outer.feed('{"name": "f", "arguments": ') == 27
    assert outer.feed('{"a": {"b": 1}}, "id": 2}', until_depth=1) == len('{"a": {"b": 1}}')
    assert outer.depth == 1
    assert outer.feed(', "id": 2} behind') == len(', "id": 2}')
    assert outer.is_complete


@pytest.mark.parametrize("seed", range(300))
def test_it_agrees_with_python_on_any_text(seed: int) -> None:
    """Objects with a character changed here and there. Python also takes NaN, which stands in none of them."""
    rng = random.Random(seed)
    value = {"a": [1, -2.5, True, None, 'x"\\\n é'], "b": {"c": {}, "d": [[], [{}]]}, "e": 1e9}
    text = list(json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1])))
    for _ in range(rng.randint(0, 2)):
        text[rng.randrange(len(text))] = rng.choice('{}[]",:\\u0e+-. \n1tf')
    changed = "".join(text)
    try:
        is_python = isinstance(json.loads(changed), dict)
    except ValueError:
        is_python = False
    assert is_object(changed) == is_python
    assert len({followed(changed, size)[1:] for size in (1, 2, 5, 1000)}) == 1
