"""A signal ends the server in order: what runs is finished or told, then everything stops; a second one forces."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from app.engine.health import EngineState
from tests.scripted_engine import HEALTHY, ScriptedEngine, data_of, listening, make_app

BODY = {"prompt": "x", "stream": True}


@pytest.fixture(autouse=True)
def survive_the_signal() -> Iterator[None]:
    """uvicorn raises the signal again when it is done, for whoever handled it before."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def streaming(
    engine: ScriptedEngine, drain: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Task[str], str, asyncio.Task[None]]]:
    """A server in the middle of one stream."""
    async with listening(make_app(engine), drain) as (address, serving), httpx.AsyncClient() as client:

        async def read() -> str:
            return (await client.post(f"{address}/v1/completions", json=BODY)).text

        reading = asyncio.create_task(read())
        await engine.until(lambda: bool(engine.submissions))
        yield client, reading, address, serving


async def test_a_stream_that_ends_in_time_is_whole() -> None:
    engine, draining, drained = ScriptedEngine(), asyncio.Event(), asyncio.Event()

    async def drain() -> None:
        engine.health = replace(HEALTHY, state=EngineState.DRAINING, reason="the server is shutting down")
        draining.set()
        await drained.wait()

    async with streaming(engine, drain) as (_, reading, address, serving):
        signal.raise_signal(signal.SIGTERM)
        await draining.wait()
        async with httpx.AsyncClient() as newcomer:
            assert (await newcomer.get(f"{address}/ready")).status_code == 503
            refused = await newcomer.post(f"{address}/v1/completions", json=BODY)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert refused.headers["connection"] == "close"
        engine.write("to the end")
        engine.end()
        *chunks, done = data_of(await reading)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "to the end"
        assert done == "[DONE]"
        drained.set()
        await serving
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient().get(f"{address}/ready")
    assert engine.drained == [7.0]


async def test_a_stream_that_does_not_end_in_time_is_told() -> None:
    engine = ScriptedEngine()
    async with streaming(engine, lambda: engine.stop(1.0)) as (_, reading, _, serving):
        engine.write("some")
        signal.raise_signal(signal.SIGTERM)
        *_, error, done = data_of(await reading)
        assert (error["error"]["code"], done) == ("aborted", "[DONE]")
        await serving
    assert engine.drained == [1.0, 7.0]


async def test_a_second_signal_ends_what_the_first_one_waits_for() -> None:
    engine, draining = ScriptedEngine(), asyncio.Event()

    async def drain() -> None:
        draining.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await engine.stop(0)

    async with streaming(engine, drain) as (_, reading, _, serving):
        engine.write("some")
        signal.raise_signal(signal.SIGTERM)
        await draining.wait()
        signal.raise_signal(signal.SIGTERM)
        *_, error, done = data_of(await reading)
        assert (error["error"]["code"], done) == ("aborted", "[DONE]")
        await serving
    assert engine.drained == [0, 7.0]


async def test_what_goes_wrong_while_the_server_drains_is_told() -> None:
    async def drain() -> None:
        raise RuntimeError("nothing drains here")

    async def serve() -> None:
        engine = ScriptedEngine()
        async with streaming(engine, drain) as (_, reading, _, _):
            engine.end()
            await reading
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RuntimeError, match="nothing drains here"):
        await serve()
