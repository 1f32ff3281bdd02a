"""`POST /v1/chat/completions`: conversations in, answers out, streamed or whole."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scripted_engine import EOS, ScriptedEngine, byte_tokenizer, data_of, ids, make_app, started

HI = [{"role": "user", "content": "hi"}]


async def post(engine: ScriptedEngine, **body: Any) -> Any:
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI} | body)
        assert answer.status_code == 200, answer.text
        return data_of(answer.text) if body.get("stream") else answer.json()


async def prompt_of(**body: Any) -> str:
    engine = ScriptedEngine(ids("k"))
    await post(engine, **body)
    return bytes(engine.submissions[0].prompt_token_ids).decode()


async def test_an_answer_has_the_fields_of_openai() -> None:
    answer = await post(ScriptedEngine([*ids("hello"), EOS]))
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "chat.completion",
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 18,
            "completion_tokens": 6,
            "total_tokens": 24,
            "prompt_tokens_details": {"cached_tokens": 9},
        },
    }


async def test_a_stream_begins_with_the_role_and_ends_with_an_empty_delta() -> None:
    *chunks, usage, done = await post(ScriptedEngine(ids("ab")), stream=True, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "a"},
        {"content": "b"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 2)


async def test_every_choice_of_a_stream_begins_with_its_own_role() -> None:
    events = await post(ScriptedEngine([*ids("ab"), EOS]), stream=True, n=2)
    for index in (0, 1):
        deltas = [event["choices"][0] for event in events[:-1] if event["choices"][0]["index"] == index]
        assert deltas[0]["delta"]["role"] == "assistant"
        assert "".join(choice["delta"].get("content", "") for choice in deltas) == "ab"
        assert deltas[-1]["finish_reason"] == "stop"


async def test_logprobs_are_the_same_streamed_and_whole() -> None:
    body = {"logprobs": True, "top_logprobs": 1}
    whole = await post(ScriptedEngine(ids("é")), **body)
    events = await post(ScriptedEngine(ids("é")), stream=True, **body)
    [content] = [event["choices"][0]["logprobs"] for event in events[:-1] if event["choices"][0]["logprobs"]]
    assert content == whole["choices"][0]["logprobs"]
    first, second = content["content"]
    assert (first["bytes"], second["bytes"]) == ([0xC3], [0xA9])
    assert first["top_logprobs"] == [{"token": "\ufffd", "logprob": -0.1, "bytes": [0xC4]}]


async def test_the_answer_may_take_all_the_room_there_is() -> None:
    engine = ScriptedEngine(ids("k"))
    await post(engine)
    assert engine.submissions[0].params.max_tokens == 64 - 18


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_both_names_of_the_bound_are_known(field: str) -> None:
    engine = ScriptedEngine(ids("k"))
    await post(engine, **{field: 3})
    assert engine.submissions[0].params.max_tokens == 3


async def test_the_template_writes_the_conversation() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
    ]
    assert await prompt_of(messages=messages) == "system:be brief|eve/user:a\nb|assistant:"


async def test_the_template_gets_its_variables() -> None:
    assert await prompt_of(chat_template_kwargs={"opening": "bot:"}) == "user:hi|bot:"
    assert await prompt_of(add_generation_prompt=False) == "user:hi|"


async def test_the_last_message_can_be_continued() -> None:
    messages = [*HI, {"role": "assistant", "content": "well"}]
    assert await prompt_of(messages=messages, continue_final_message=True) == "user:hi|assistant:well"


async def test_a_model_without_a_template_says_what_to_do() -> None:
    app = make_app(ScriptedEngine(), load_tokenizer=lambda: byte_tokenizer(None))
    async with started(app) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_chat_template")
    assert "/v1/completions" in answer.json()["error"]["message"]


async def test_what_the_template_refuses_is_the_clients_error() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "refuse me"}]}
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "chat_template_error")


async def test_a_conversation_too_long_is_refused_with_the_name_of_its_bound() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI, "max_completion_tokens": 47})
        hopeless = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a" * 70}]})
    assert "The largest max_completion_tokens that fits is 46." in answer.json()["error"]["message"]
    assert hopeless.json()["error"]["code"] == "context_length_exceeded"
    assert "at most 63 prompt tokens" in hopeless.json()["error"]["message"]
