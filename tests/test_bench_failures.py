"""Errors of servers are recognised, and never counted as successes."""

from __future__ import annotations

import asyncio

import pytest

from app.bench.client import Client
from app.bench.outcome import BenchError, Outcome
from app.engine.health import Overloaded
from app.messages import FinishReason
from tests.scripted_engine import ScriptedEngine, listening, make_app
from tests.test_bench_client import (
    COMPLETIONS,
    EVENT_STREAM,
    WHOLE,
    Canned,
    answer_json,
    ask,
    asked_for,
    chunked,
    events,
)


async def streamed(answer: bytes | None, *, closes: bool = False, timeout: float = 60.0) -> Outcome:
    """What becomes of a request that is answered so."""
    outcome = asked_for()
    async with Canned(lambda *_: answer, closes).listening() as url:
        client = Client(url, timeout=timeout)
        await client.stream(client.message(COMPLETIONS, b"{}"), outcome)
        client.close()
    return outcome


async def test_a_refusal_is_a_failure_with_its_status_and_message() -> None:
    engine = ScriptedEngine(script=list(b"abc"), refusals={0: Overloaded("the queue is full", 3)})
    async with listening(make_app(engine)) as (url, _):
        full, wrong = await ask(url), await ask(url, max_tokens="many")
    assert not full.ok
    assert (full.status, full.text_times) == (429, [])
    assert full.error is not None
    assert full.error.startswith("HTTP 429: ")
    assert not wrong.ok
    assert "HTTP 400: 'max_tokens'" in str(wrong.error)


async def test_an_error_in_the_middle_of_a_stream_is_a_failure_though_done_follows() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (url, _):
        asking = asyncio.ensure_future(ask(url))
        await engine.until(lambda: len(engine.submissions) == 1)
        engine.write("ab")
        engine.die()
        outcome = await asking
    assert not outcome.ok
    assert outcome.done
    assert outcome.error is not None
    assert outcome.error.startswith("error event: ")


async def test_an_aborted_stream_is_a_failure() -> None:
    engine = ScriptedEngine(script=list(b"abc"), ending=FinishReason.ABORT)
    async with listening(make_app(engine)) as (url, _):
        outcome = await ask(url)
    assert not outcome.ok


async def test_a_stream_that_is_cut_off_is_a_failure_however_much_had_arrived() -> None:
    outcome = await streamed(EVENT_STREAM + chunked(*events(WHOLE, done=False), complete=False), closes=True)
    assert not outcome.ok
    assert outcome.error == "the connection was closed before the end"
    assert len(outcome.text_times) == 2


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (events(WHOLE[:2]), "the stream ended without a finish reason"),
        (events(WHOLE, done=False), "the stream ended without [DONE]"),
        (events([{"text": "", "finish_reason": "error"}]), "finish_reason error"),
        ([b"data: oops\n\n", *events(WHOLE)], "an event is not a JSON object: oops"),
        (events(WHOLE[:1], {"error": "no memory"}), "error event: no memory"),
    ],
)
async def test_a_stream_that_ends_wrongly_is_a_failure(content: list[bytes], error: str) -> None:
    outcome = await streamed(EVENT_STREAM + chunked(*content))
    assert not outcome.ok
    assert outcome.error == error


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, "the connection was closed before the end"),
        (b"SMTP ready\r\n\r\n", "the response is not HTTP/1.1: "),
        (EVENT_STREAM + b"zz\r\n", "the response is not HTTP/1.1: "),
        (EVENT_STREAM + b"-1\r\n", "the response is not HTTP/1.1: a chunk of -1 bytes"),
        (answer_json({"choices": []}), "the answer is application/json, not an event stream"),
        (answer_json({"detail": "busy"}, "503 Service Unavailable"), 'HTTP 503: {"detail": "busy"}'),
    ],
)
async def test_an_answer_that_is_no_stream_is_a_failure(answer: bytes | None, error: str) -> None:
    outcome = await streamed(answer)
    assert not outcome.ok
    assert outcome.error is not None
    assert outcome.error.startswith(error)


async def test_a_server_that_says_nothing_is_a_failure_after_the_timeout() -> None:
    outcome = await streamed(b"", timeout=0.05)
    assert outcome.error == "timeout after 0.05 s"


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with Canned(lambda *_: b"").listening() as url:
        pass
    outcome = await ask(url)
    assert not outcome.ok
    assert outcome.error
    with pytest.raises(BenchError, match="no answer"):
        await Client(url).get("/v1/models")
