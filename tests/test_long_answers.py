"""What one request may cost is settled before it begins, and a long answer leaves the event loop to others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from app.api.request_limits import RequestLimits
from app.api.wire.json_parts import PART_CHARACTERS, JsonInParts, encode, encode_in_parts
from tests.scripted_engine import ScriptedEngine, data_of, ids, listening, make_app, small, started

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
MUCH = "x" * (4 * PART_CHARACTERS)
LONG = small(max_model_len=16384, num_blocks=10_000)


async def send(path: str, limits: RequestLimits | None = None, **body: Any) -> tuple[httpx.Response, ScriptedEngine]:
    engine = ScriptedEngine(ids("miller"), ready=LONG)
    async with started(make_app(engine, limits=limits)) as client:
        return await client.post(path, json=body), engine


# The account


@pytest.mark.parametrize(
    ("path", "body", "asked", "param", "remedy"),
    [
        (COMPLETIONS, {"prompt": [[1] * 900] * 128, "prompt_logprobs": 20}, "2,534,528", "prompt", "Send 52 prompts"),
        (COMPLETIONS, {"prompt": "x" * 7000, "n": 128, "max_tokens": 1193}, "1,048,704", "max_tokens", "is 1,192"),
        (
            COMPLETIONS,
            {"prompt": "x", "n": 128, "max_tokens": 400, "logprobs": 20},
            "1,126,528",
            "max_tokens",
            "is 372",
        ),
        (CHAT, {"messages": HI, "n": 100, "max_tokens": 8000, "logprobs": True}, "1,601,800", "max_tokens", "is 5,233"),
        (COMPLETIONS, {"prompt": "x" * 4000, "n": 128, "logprobs": 1, "echo": True}, "1,536,384", "n", "fewer choices"),
    ],
)
async def test_a_request_that_asks_for_too_much_in_all_is_told_the_account_and_what_fits(
    path: str, body: dict[str, Any], asked: str, param: str, remedy: str
) -> None:
    answer, engine = await send(path, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "request_too_large")
    assert f"asks for {asked} values in all; this server allows 1,048,576" in error["message"]
    assert remedy in error["message"]
    assert engine.submissions == []


@pytest.mark.parametrize(("room", "status"), [(0, 200), (-1, 400)])
@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"prompt": "x" * 100, "n": 8, "max_tokens": 20}, 8 * (100 + 20)),
        ({"prompt": "x" * 100, "n": 8, "max_tokens": 1, "logprobs": 0, "echo": True}, 8 * 101 * 2),
        ({"prompt": [[1] * 100] * 10, "max_tokens": 1, "prompt_logprobs": 3}, 10 * (100 * 5 + 1)),
    ],
)
async def test_a_request_may_ask_for_as_much_as_the_setting_says_and_no_more(
    body: dict[str, Any], asked: int, room: int, status: int
) -> None:
    answer, _ = await send(COMPLETIONS, RequestLimits(max_values=asked + room), **body)
    assert answer.status_code == status


async def test_without_max_tokens_a_sequence_may_have_what_the_account_allows() -> None:
    limits = RequestLimits(max_values=1000)
    answer, engine = await send(CHAT, limits, messages=HI, n=2, logprobs=True, top_logprobs=3)
    assert answer.status_code == httpx.codes.OK
    num_prompt_tokens = answer.json()["usage"]["prompt_tokens"]
    affordable = (1000 - 2 * num_prompt_tokens) // (2 * 5)
    assert [submission.params.max_tokens for submission in engine.submissions] == [affordable, affordable]


# Long answers


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": [], "b": {}, "c": [{"d": None, "é": "ü"}, 1, True], "e": "\n"},
        {"text": MUCH, "more": [MUCH, {"most": MUCH}]},
    ],
)
def test_json_in_parts_is_the_json_of_the_whole(value: Any) -> None:
    assert "".join(encode_in_parts(value)) == encode(value)


def test_an_iterator_stands_for_an_array() -> None:
    def value() -> Any:
        return {"a": (n for n in range(3)), "b": [iter(()), {"c": map(str, range(2))}]}

    whole = {"a": [0, 1, 2], "b": [[], {"c": ["0", "1"]}]}
    assert json.loads("".join(encode_in_parts(value()))) == json.loads(encode(value())) == whole


async def test_between_the_parts_of_an_answer_others_have_their_turn() -> None:
    log: list[str] = []
    is_over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send_part(message: dict[str, Any]) -> None:
        log.append(message["type"])

    async def neighbour() -> None:
        while not is_over.is_set():
            log.append("neighbour")
            await asyncio.sleep(0)

    turns = asyncio.create_task(neighbour())
    answer = JsonInParts({"values": ("x" * 100 for _ in range(10 * PART_CHARACTERS // 100))})
    await answer({"type": "http"}, receive, send_part)
    is_over.set()
    await turns
    *parts, end = [place for place, what in enumerate(log) if what == "http.response.body"]
    assert len(parts) >= 10
    assert all("neighbour" in log[one:other] for one, other in pairwise([*parts, end]))


async def test_an_answer_that_its_client_leaves_is_not_written_to_its_end() -> None:
    written: list[str] = []
    left = asyncio.Event()

    def values() -> Iterator[str]:
        for _ in range(100_000):
            written.append("x" * 1000)
            yield written[-1]

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send_part(_: dict[str, Any]) -> None:
        left.set()

    await JsonInParts({"values": values()})({"type": "http"}, receive, send_part)
    assert len(written) < 1000


async def test_a_short_answer_has_a_length_and_a_long_one_comes_in_chunks() -> None:
    engine = ScriptedEngine(ids("miller"), ready=LONG)
    async with listening(make_app(engine)) as (address, _), httpx.AsyncClient() as client:
        short = await client.post(f"{address}{COMPLETIONS}", json={"prompt": "x"})
        long = await client.post(f"{address}{COMPLETIONS}", json={"prompt": "x" * 3000, "prompt_logprobs": 20})
    assert int(short.headers["content-length"]) == len(short.content)
    assert "content-length" not in long.headers
    [choice] = long.json()["choices"]
    first, *others = choice["prompt_logprobs"]
    assert first is None
    assert len(others) == 2999
    assert all(len(other) == 21 for other in others)


async def test_the_echo_of_a_long_prompt_comes_in_events_that_are_together_the_whole() -> None:
    engine = ScriptedEngine(ids("miller"), ready=LONG)
    body = {"prompt": ["abc" * 1000, "def" * 500], "echo": True, "logprobs": 2, "max_tokens": 4}
    async with listening(make_app(engine)) as (address, _), httpx.AsyncClient() as client:
        whole = (await client.post(f"{address}{COMPLETIONS}", json=body)).json()["choices"]
        streamed = data_of((await client.post(f"{address}{COMPLETIONS}", json=body | {"stream": True})).text)
    for index, choice in enumerate(whole):
        events = [event["choices"][0] for event in streamed[:-1] if event["choices"][0]["index"] == index]
        assert len(events) > 5
        assert "".join(event["text"] for event in events) == choice["text"] == body["prompt"][index] + "mill"
        for column, values in choice["logprobs"].items():
            assert [value for event in events if event["logprobs"] for value in event["logprobs"][column]] == values
