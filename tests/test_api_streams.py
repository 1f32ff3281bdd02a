"""Every stream ends with `[DONE]`, and no sequence outlives the client that asked for it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message, Send

from app.api.generation import sse as events
from app.engine.stream import CutReason, KillsEngine
from app.messages import FinishReason, TokenLogprobs
from tests.scripted_engine import ScriptedEngine, data_of, make_app, started

COMPLETIONS = "/v1/completions"
STREAM = {"prompt": "x", "stream": True}


class Exchange:
    """One request on bare ASGI: its events can be read as they come, and its client can leave."""

    def __init__(self, app: FastAPI, path: str, body: dict[str, Any], send: Send | None = None) -> None:
        self.left = asyncio.Event()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self._body = json.dumps(body).encode()
        self._received = False
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        self.running = asyncio.ensure_future(app(scope, self._receive, send or self._send))

    async def event(self) -> str:
        """The next body message, as text."""
        message = await self.sent.get()
        while message["type"] != "http.response.body":
            message = await self.sent.get()
        return str(message["body"], "utf-8")

    async def leave(self) -> None:
        """Disconnect, and wait until the application is done with the request."""
        self.left.set()
        await self.running

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.put_nowait(message)


async def begun(app: FastAPI, engine: ScriptedEngine, body: dict[str, Any]) -> Exchange:
    exchange = Exchange(app, COMPLETIONS, body)
    await engine.until(lambda: len(engine.submissions) == body.get("n", 1))
    return exchange


async def rest(exchange: Exchange) -> list[Any]:
    """What comes until the application is done."""
    await exchange.running
    messages = [exchange.sent.get_nowait() for _ in range(exchange.sent.qsize())]
    return data_of("".join(str(message.get("body", b""), "utf-8") for message in messages))


async def test_every_token_is_sent_before_the_next_one_is_made() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        for letter in "abc":
            engine.write(letter)
            [event] = data_of(await exchange.event())
            assert event["choices"][0]["text"] == letter
        engine.end()
        *_, done = await rest(exchange)
        assert done == "[DONE]"


async def test_a_lagging_reader_gets_in_one_chunk_what_it_missed() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM | {"logprobs": 0})
        engine.write(text := "all of it, at once; " * 4)
        engine.end()
        content, _, _ = await rest(exchange)
        assert content["choices"][0]["text"] == text
        assert len(content["choices"][0]["logprobs"]["tokens"]) == len(text)


async def test_a_reader_that_comes_a_little_late_gets_an_event_for_each_token() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write("word")
        engine.end()
        *content, _, _ = await rest(exchange)
        assert [chunk["choices"][0]["text"] for chunk in content] == ["w", "o", "r", "d"]


@pytest.mark.parametrize(("num_choices", "num_events"), [(1, 4), (3, 3)])
async def test_events_that_wait_are_sent_in_one_go(num_choices: int, num_events: int) -> None:
    """One sequence waits with four tokens, or three with one each."""
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM | {"n": num_choices})
        for index in range(num_choices):
            engine.write("word" if num_choices == 1 else "w", index)
        events = data_of(await exchange.event())
        assert len(events) == num_events
        assert {event["choices"][0]["index"] for event in events} == set(range(num_choices))
        await exchange.leave()


async def test_no_cache_and_no_proxy_may_keep_a_stream() -> None:
    engine = ScriptedEngine([])
    app = make_app(engine)
    async with started(app) as client:
        answer = await client.post(COMPLETIONS, json=STREAM)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "connection" not in answer.headers


async def test_a_silent_stream_is_kept_alive_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.001)
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        assert await exchange.event() == ": ping\n\n"
        await exchange.leave()


@pytest.mark.parametrize("body", [STREAM, STREAM | {"n": 3}, {"prompt": "x"}, {"prompt": "x", "n": 3}])
async def test_a_client_that_leaves_frees_its_sequences(body: dict[str, Any]) -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, body)
        engine.write("some")
        await exchange.leave()
        assert [stream.finish_reason for stream in engine.closed] == [CutReason.CLIENT_GONE] * body.get("n", 1)


async def test_a_client_that_leaves_before_the_first_event_frees_its_sequence() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = Exchange(app, COMPLETIONS, STREAM)
        exchange.left.set()
        await exchange.running
        assert len(engine.closed) == len(engine.submissions)


async def test_a_stream_that_cannot_be_sent_frees_its_sequence() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)

    async def broken(message: Message) -> None:
        raise OSError(f"no {message['type']}")

    async with started(app):
        exchange = Exchange(app, COMPLETIONS, STREAM, send=broken)
        await engine.until(lambda: len(engine.submissions) == 1)
        engine.write("a")
        with pytest.raises(OSError, match=r"no http\.response\.start"):
            await exchange.running
        assert [stream.finish_reason for stream in engine.closed] == [CutReason.CLIENT_GONE]


@pytest.mark.parametrize("body", [STREAM, {"prompt": "x"}])
async def test_a_cancelled_request_frees_its_sequence(body: dict[str, Any]) -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, body)
        exchange.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.running
        assert [stream.finish_reason for stream in engine.closed] == [FinishReason.ABORT]


async def test_a_neighbour_does_not_notice_that_a_client_left() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        staying = await begun(app, engine, STREAM)
        leaving = Exchange(app, COMPLETIONS, STREAM)
        await engine.until(lambda: len(engine.submissions) == 2)
        await leaving.leave()
        engine.write("still here")
        engine.end()
        text = "".join(event["choices"][0]["text"] for event in (await rest(staying))[:-1])
        assert text == "still here"
        assert engine.closed == [engine.submissions[1].stream]


@pytest.mark.parametrize("num_choices", [1, 3])
async def test_a_dying_engine_ends_a_stream_with_an_error_and_done(num_choices: int) -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM | {"n": num_choices})
        engine.write("s")
        await exchange.event()
        engine.die()
        error, done = await rest(exchange)
        assert error["error"]["code"] == "engine_died"
        assert done == "[DONE]"


async def test_what_came_before_the_engine_died_is_sent_before_the_error() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write("so")
        engine.die()
        first, second, error, done = await rest(exchange)
        assert first["choices"][0]["text"] + second["choices"][0]["text"] == "so"
        assert (error["error"]["code"], done) == ("engine_died", "[DONE]")


async def test_a_request_that_kills_the_engine_is_told_not_to_come_again() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app) as client:
        exchange = await begun(app, engine, STREAM)
        engine.write("s")
        await exchange.event()
        asking = asyncio.ensure_future(client.post(COMPLETIONS, json={"prompt": "x"}))
        await engine.until(lambda: len(engine.submissions) == 2)
        engine.die(KillsEngine("This kills the engine."))
        error, done = await rest(exchange)
        assert (error["error"]["code"], error["error"]["type"], done) == ("kills_engine", "server_error", "[DONE]")
        answer = await asking
        assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
        assert "retry-after" not in answer.headers
        assert answer.json() == error


async def test_a_dying_engine_is_a_503_to_who_does_not_stream() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app) as client:
        asking = asyncio.ensure_future(client.post(COMPLETIONS, json={"prompt": "x"}))
        await engine.until(lambda: bool(engine.submissions))
        engine.die()
        answer = await asking
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "engine_died"


async def test_a_stopping_engine_ends_a_stream_with_an_error_and_done() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write("s")
        await exchange.event()
        await engine.stop(0)
        error, done = await rest(exchange)
        assert error["error"]["code"] == "aborted"
        assert done == "[DONE]"


async def test_a_sequence_the_engine_gives_up_is_an_error() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write("s")
        await exchange.event()
        engine.end(FinishReason.ERROR)
        error, done = await rest(exchange)
        assert (error["error"]["code"], done) == ("engine_error", "[DONE]")


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (FinishReason.ABORT, 503, "aborted"),
        (FinishReason.ERROR, 500, "engine_error"),
        (FinishReason.QUEUE_TIMEOUT, 503, "queue_timeout"),
        (CutReason.REQUEST_TIMEOUT, 504, "request_timeout"),
    ],
)
@pytest.mark.parametrize("num_choices", [1, 2])
async def test_a_stream_that_fails_before_its_first_token_has_the_status_of_its_error(
    reason: FinishReason, status: int, code: str, num_choices: int
) -> None:
    body = STREAM | {"n": num_choices}
    async with started(make_app(ScriptedEngine(script=(), ending=reason))) as client:
        answer = await client.post(COMPLETIONS, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_stream_whose_time_is_up_keeps_what_it_has_given() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write("s")
        await exchange.event()
        engine.write("o!")
        engine.submissions[0].stream.end(CutReason.REQUEST_TIMEOUT)
        engine.submissions[0].stream.wake()
        *chunks, error, done = await rest(exchange)
        assert [chunk["choices"][0]["text"] for chunk in chunks] == ["o", "!"]
        assert (error["error"]["code"], done) == ("request_timeout", "[DONE]")
        assert engine.closed == [engine.submissions[0].stream]


async def test_a_stream_that_was_kept_alive_before_it_failed_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.01)
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        assert await exchange.event() == ": ping\n\n"
        engine.die()
        error, done = await rest(exchange)
        assert (error["error"]["code"], done) == ("engine_died", "[DONE]")


async def test_an_unexpected_error_ends_a_stream_too_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM | {"logprobs": 1})
        engine.write("s")
        await exchange.event()
        engine.submissions[0].stream.push(97, TokenLogprobs(97, float("nan")), 0.0)
        engine.submissions[0].stream.wake()
        with caplog.at_level(logging.ERROR):
            error, done = await rest(exchange)
        assert (error["error"]["code"], done) == ("internal_error", "[DONE]")
        assert [record.exc_info is not None for record in caplog.records] == [True]
        assert engine.closed == [engine.submissions[0].stream]


async def test_what_is_sent_is_one_event_a_line_whatever_the_text() -> None:
    engine = ScriptedEngine()
    app = make_app(engine)
    async with started(app):
        exchange = await begun(app, engine, STREAM)
        engine.write(text := "a\r\n\n\u2028b" * 10)
        raw = await exchange.event()
        assert raw.count("\n") == 2
        assert json.loads(raw.removeprefix("data: "))["choices"][0]["text"] == text
        await exchange.leave()
