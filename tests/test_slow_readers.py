"""A client that does not read its answer is cut off, and what it leaves unread is bounded."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from uvicorn.server import ServerState

from app.api.wire.connection import Connection
from app.api.wire.server import server_config
from app.engine.stream import CutReason
from tests.raw_client import connected, post, until
from tests.scripted_engine import ScriptedEngine, listening, make_app

STREAM = post(json.dumps({"prompt": "x", "stream": True}).encode())
CLOSING_STREAM = post(json.dumps({"prompt": "x", "stream": True}).encode(), extra=b"Connection: close\r\n")
WHOLE = post(json.dumps({"prompt": "x"}).encode(), extra=b"Connection: close\r\n")
MUCH = "x" * (1 << 20)
IMPATIENT = 0.05


async def test_a_stream_that_nobody_reads_is_ended_and_counted_as_that() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine), stall_seconds=IMPATIENT) as (address, _), connected(address) as client:
        client.stop_reading()
        await client.send(STREAM)
        await engine.until(lambda: bool(engine.submissions))
        engine.write(MUCH)
        await engine.until(lambda: bool(engine.closed))
        assert [stream.finish_reason for stream in engine.closed] == [CutReason.CLIENT_STALLED]


async def test_all_of_a_stream_that_is_there_at_once_reaches_a_reader_who_comes_late() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        client.stop_reading()
        await client.send(CLOSING_STREAM)
        await engine.until(lambda: bool(engine.submissions))
        engine.write(MUCH)
        engine.end()
        client.go_on_reading()
        assert (await client.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_what_waits_for_a_reader_is_sent_before_what_comes_when_it_reads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, resume_writing = ScriptedEngine(), Connection.resume_writing

    def resume_writing_as_a_token_comes(connection: Connection) -> None:
        resume_writing(connection)
        stream = engine.submissions[0].stream
        if stream.finish_reason is None:
            engine.write("c")
            engine.end()

    monkeypatch.setattr(Connection, "resume_writing", resume_writing_as_a_token_comes)
    monkeypatch.setattr("app.engine.stream.MAX_TAKEN_TOKENS", len(MUCH))  # all of it is one event
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        client.stop_reading()
        await client.send(CLOSING_STREAM)
        await engine.until(lambda: bool(engine.submissions))
        stream = engine.submissions[0].stream
        for text in (MUCH, "b"):
            engine.write(text)
            await until(lambda: stream.num_taken == stream.num_output_tokens)
        client.go_on_reading()
        lines = (await client.rest()).replace(b"\r\n", b"\n").split(b"\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    assert "".join(choice["text"] for event in events for choice in event["choices"])[-3:] == "xbc"


async def test_a_whole_answer_that_nobody_reads_does_not_keep_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The application is done with it; what is left is the transport's, which would wait for ever to close."""
    engine = ScriptedEngine()
    async with AsyncExitStack() as clients:
        async with listening(make_app(engine), stall_seconds=IMPATIENT) as (address, _):
            client = await clients.enter_async_context(connected(address))
            client.stop_reading()
            await client.send(WHOLE)
            await engine.until(lambda: bool(engine.submissions))
            engine.write(MUCH)
            engine.end()
        assert "timeout graceful shutdown exceeded" not in caplog.text


async def test_who_takes_something_is_waited_for_and_who_takes_nothing_is_not() -> None:
    app, made = make_app(ScriptedEngine()), asyncio.get_running_loop().create_future()
    config = server_config(app, "127.0.0.1", 0, stall_seconds=1000.0)
    config.load()

    def make() -> Connection:
        connection = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]
        made.set_result(connection)
        return connection  # type: ignore[return-value]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with connected(f"http://{host}:{port}") as client:
        connection: Connection = await made
        client.stop_reading()
        connection.transport.write(b"x" * (1 << 24))
        unread = connection.transport.get_write_buffer_size()
        client.go_on_reading()
        await client.reader.readexactly(1 << 22)
        connection.check_for_stall(unread)
        assert not connection.transport.is_closing()
        client.stop_reading()
        connection.check_for_stall(connection.transport.get_write_buffer_size())
        assert connection.transport.is_closing()
    server.close()
    await server.wait_closed()
