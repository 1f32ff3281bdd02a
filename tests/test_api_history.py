"""What a conversation may hold of earlier answers: all that this server says, and what others say of theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_engine import ScriptedEngine, byte_tokenizer, ids, make_app, small, started

TEMPLATES = Path(__file__).parents[2] / "shared" / "templates"
TEMPLATE = "{% for m in messages %}{{ m | tojson }}\n{% endfor %}"
ASKED = {"role": "user", "content": "hi"}
ARGUMENTS = "messages[1].tool_calls[0].function.arguments"

LENIENT = {
    "": {},
    "null": {},
    "[1]": {},
    '"text"': {},
    "no JSON": {},
    '{"city": "Par': {},
    '{"text": "a\nb"}': {},
    '{"a": NaN}': {},
    '{"x": "\\ud83d\\ude00"}': {"x": "😀"},
    '{"a": 1}': {"a": 1},
}


def called(arguments: Any, name: str = "f") -> dict[str, Any]:
    call = {"id": "abcdefghi", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def answer_to(message: dict[str, Any]) -> tuple[int, Any]:
    """The status, and the message as the template gets it or the error."""
    engine = ScriptedEngine(ids("k"), ready=small(max_model_len=4000))
    async with started(make_app(engine, load_tokenizer=lambda: byte_tokenizer(TEMPLATE))) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": [ASKED, message, ASKED], "max_tokens": 1})
    if answer.status_code != 200:
        return answer.status_code, answer.json()["error"]
    written = json.loads(bytes(engine.submissions[0].prompt_token_ids).decode().splitlines()[1])
    written.pop("thinking", None)  # which transformers adds to `reasoning_content`
    return answer.status_code, written


@pytest.mark.parametrize("arguments", LENIENT)
async def test_arguments_that_are_no_object_are_none_to_the_template(arguments: str) -> None:
    status, message = await answer_to(called(arguments))
    assert (status, message["tool_calls"][0]["function"]) == (200, {"name": "f", "arguments": LENIENT[arguments]})


@pytest.mark.parametrize("arguments", [{"a": {"b": [1]}}, None, [1]])
async def test_arguments_need_not_be_text(arguments: Any) -> None:
    status, message = await answer_to(called(arguments))
    expected = arguments if isinstance(arguments, dict) else {}
    assert (status, message["tool_calls"][0]["function"]["arguments"]) == (200, expected)


@pytest.mark.parametrize("name", ["get weather", "", "日本", "x" * 100])
async def test_a_function_may_have_had_any_name(name: str) -> None:
    status, message = await answer_to(called("{}", name))
    assert (status, message["tool_calls"][0]["function"]["name"]) == (200, name)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": "\\ud83d"}',
        '{"\\ude00": 1}',
        '{"a":' * 1500 + "1" + "}" * 1500,
        "[" * 2000,
        '{"x": "\\ud83d", "a": ' + "[" * 2000 + "]" * 2000 + "}",
    ],
)
async def test_arguments_that_no_text_can_hold_are_refused_by_their_field(arguments: str) -> None:
    status, error = await answer_to(called(arguments))
    assert (status, error["param"]) == (400, ARGUMENTS)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"content": None}, {"content": ""}),
        ({"content": []}, {"content": ""}),
        ({}, {"content": ""}),
        ({"content": "", "reasoning_content": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"reasoning_content": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"reasoning": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"content": "yes", "annotations": []}, {"content": "yes"}),
        ({"content": "yes", "annotations": [{"type": "url_citation"}]}, {"content": "yes"}),
        ({"content": None, "refusal": "I cannot."}, {"content": "I cannot."}),
        ({"content": "yes", "refusal": None, "audio": None, "function_call": None}, {"content": "yes"}),
        ({"content": "yes", "cache_control": {"type": "ephemeral"}}, {"content": "yes"}),
        (
            {"content": [{"type": "text", "text": "yes", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"content": "yes"},
        ),
    ],
)
async def test_what_an_answer_may_be_is_taken_back(said: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await answer_to({"role": "assistant"} | said) == (200, {"role": "assistant"} | expected)


@pytest.mark.skipif(not TEMPLATES.is_dir(), reason="published chat templates are not here")
@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.jinja")), ids=lambda path: path.stem)
async def test_published_templates_take_such_calls_if_they_take_any(path: Path) -> None:
    """Some write the object themselves, some take its text, and some go through its items."""
    tokenizer = byte_tokenizer(path.read_text(encoding="utf-8"))
    engine = ScriptedEngine(ids("k"), ready=small(max_model_len=40_000, num_blocks=10_000))
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"}
    async with started(make_app(engine, load_tokenizer=lambda: tokenizer)) as client:
        for calling in (called('{"a": 1}'), *(called(arguments, "get weather") for arguments in LENIENT)):
            body = {"messages": [ASKED, calling, result], "max_tokens": 1}
            answer = await client.post("/v1/chat/completions", json=body)
            if "unsafe" in answer.text and not engine.submissions:
                pytest.skip("transformers takes no call in this template at all")
            assert answer.status_code == 200, (calling, answer.text)
