"""A client that sends without end, too slowly, or not at all costs itself its connection, and no one else anything."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from app.api.request_limits import RequestLimits
from app.api.wire.connection import MAX_HEAD_BYTES, MAX_HEADERS
from app.api.wire.open_files import MAX_OPEN_FILES, raise_open_file_limit, room_of
from app.engine.stream import CutReason
from tests.raw_client import RawClient, connected, post, until
from tests.scripted_engine import ScriptedEngine, data_of, listening, make_app

STREAM = json.dumps({"prompt": "x", "stream": True}).encode()
HEAD = b"GET /ready HTTP/1.1\r\nHost: t\r\n"
IMPATIENT = 0.05
PATIENT = 30.0

Attack = Callable[[RawClient], Awaitable[None]]


async def endless_header(client: RawClient) -> None:
    await client.send(HEAD + b"X-Endless: ")
    await client.send_without_end(b"a" * MAX_HEAD_BYTES)


async def endless_headers(client: RawClient) -> None:
    await client.send(HEAD)
    await client.send_without_end(b"".join(b"X-%d: 1\r\n" % number for number in range(1000)))


async def endless_address(client: RawClient) -> None:
    await client.send(b"GET /")
    await client.send_without_end(b"a" * MAX_HEAD_BYTES)


async def endless_trailer(client: RawClient) -> None:
    await client.send(
        b"POST /nowhere HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-Endless: "
    )
    await client.send_without_end(b"a" * MAX_HEAD_BYTES)


async def stalled_head(client: RawClient) -> None:
    await client.send(HEAD)


async def a_line_end_and_no_more(client: RawClient) -> None:
    await client.send(b"\r\n")


async def stalled_body(client: RawClient) -> None:
    await client.send(post(STREAM[:5], length=len(STREAM)))


async def no_http(client: RawClient) -> None:
    await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10)


@asynccontextmanager
async def somebody_reading(engine: ScriptedEngine, address: str) -> AsyncIterator[None]:
    """A stream that is under way, and must be whole in the end."""
    async with httpx.AsyncClient() as client:
        reading = asyncio.create_task(client.post(f"{address}/v1/completions", content=STREAM, headers=JSON))
        await engine.until(lambda: bool(engine.submissions))
        engine.write("before ")
        yield
        engine.write("and after")
        engine.end()
        *chunks, done = data_of((await reading).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "before and after"
    assert done == "[DONE]"


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("attack", "seconds", "status", "code"),
    [
        (endless_header, PATIENT, 431, "headers_too_large"),
        (endless_headers, PATIENT, 431, "headers_too_large"),
        (endless_address, PATIENT, 431, "headers_too_large"),
        (stalled_head, IMPATIENT, 408, "receive_timeout"),
        (a_line_end_and_no_more, IMPATIENT, 408, "receive_timeout"),
        (stalled_body, IMPATIENT, 408, "receive_timeout"),
        (no_http, PATIENT, 400, "invalid_http"),
    ],
)
async def test_who_sends_no_end_is_told_why_it_is_closed_and_another_stream_goes_on(
    attack: Attack, seconds: float, status: int, code: str
) -> None:
    engine = ScriptedEngine()
    app = make_app(engine, limits=RequestLimits(receive_seconds=seconds))
    async with listening(app) as (address, _), somebody_reading(engine, address), connected(address) as client:
        attacking = asyncio.create_task(attack(client))
        answered, headers, body = await client.answer()
        assert await client.rest() == b""
        await attacking
        assert (answered, body["error"]["code"], headers["connection"]) == (status, code, "close")
    service = app.state.service
    assert f'millrace_admission_rejections_total{{reason="{code}"}} 1.0' in service.metrics.render("")[0].decode()
    assert service.collector.error_causes[code] == 1


async def test_who_connects_and_says_nothing_is_let_go() -> None:
    app = make_app(ScriptedEngine(), limits=RequestLimits(receive_seconds=IMPATIENT))
    async with listening(app) as (address, _), connected(address) as client:
        assert await client.rest() == b""


async def test_who_is_answered_and_goes_on_sending_is_let_go() -> None:
    app = make_app(ScriptedEngine(), limits=RequestLimits(receive_seconds=IMPATIENT))
    async with listening(app) as (address, _), connected(address) as client:
        await client.send(post(b"{", path="/nowhere", length=10))
        assert (await client.answer())[0] == 404
        assert await client.rest() == b""


async def test_an_endless_trailer_ends_too() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        attacking = asyncio.create_task(endless_trailer(client))
        assert await client.rest()
        await attacking


async def test_one_connection_too_many_is_told_so_and_the_next_finds_room_when_somebody_has_left() -> None:
    app = make_app(ScriptedEngine())
    async with AsyncExitStack() as stack, listening(app, num_files=16) as (address, _):
        clients = [await stack.enter_async_context(connected(address)) for _ in range(room_of(16).connections)]
        assert [await is_served(client) for client in clients] == [True] * len(clients)
        async with connected(address) as late:
            status, headers, body = await late.answer()
            assert (status, body["error"]["code"]) == (503, "too_many_connections")
            assert (headers["retry-after"], headers["connection"]) == ("1", "close")
            assert await late.rest() == b""
        assert b'reason="too_many_connections"} 1.0' in app.state.service.metrics.render("")[0]
        clients[0].writer.close()
        async with asyncio.timeout(30):
            while not await anybody_is_served(address):
                pass


async def is_served(client: RawClient) -> bool:
    await client.send(HEAD + b"\r\n")
    return (await client.answer())[0] == 200


async def anybody_is_served(address: str) -> bool:
    async with connected(address) as client:
        try:
            return await is_served(client)
        except (ConnectionError, asyncio.IncompleteReadError):
            return False


@pytest.mark.parametrize("num_files", [16, 256, 1024, MAX_OPEN_FILES])
def test_connections_and_a_backlog_leave_files_for_the_process_itself(num_files: int) -> None:
    room = room_of(num_files)
    assert 0 < room.backlog < room.connections
    assert num_files // 2 <= room.connections < num_files - room.backlog


def test_a_process_opens_as_many_files_as_it_may() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        assert raise_open_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raise_open_file_limit() == (
            MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_head_up_to_the_bounds_is_read() -> None:
    async with listening(make_app(ScriptedEngine())) as (address, _), connected(address) as client:
        fields = [b"X-%d: %b\r\n" % (number, b"a" * 500) for number in range(MAX_HEADERS - 2)]
        await client.send(HEAD + b"Connection: close\r\n" + b"".join(fields) + b"\r\n")
        status, _, body = await client.answer()
        assert (status, body["ready"]) == (200, True)


async def test_a_large_body_that_comes_in_pieces_is_read() -> None:
    engine = ScriptedEngine(script=b"ok")
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        body = json.dumps({"prompt": "x", "user": "u" * 1_000_000}).encode()
        await client.send(post(body, extra=b"Connection: close\r\n"))
        status, _, answer = await client.answer()
        assert (status, answer["choices"][0]["text"]) == (200, "ok")


async def test_requests_sent_at_once_are_answered_in_turn() -> None:
    async with listening(make_app(ScriptedEngine(script=b"ok"))) as (address, _), connected(address) as client:
        body = json.dumps({"prompt": "x"}).encode()
        await client.send(post(body) + post(body) + post(body, extra=b"Connection: close\r\n"))
        assert (await client.rest()).count(b'"text":"ok"') == 3


async def test_a_client_that_leaves_is_missed_though_it_had_sent_its_next_request_already() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _):
        async with connected(address) as client:
            await client.send(post(STREAM) + post(STREAM))
            await engine.until(lambda: bool(engine.submissions))
        for _ in range(3):  # the first is taken by the kernel, the next finds the connection reset
            if not engine.closed:
                engine.write("x")
                await asyncio.sleep(0)
        await engine.until(lambda: bool(engine.closed))
    assert [stream.finish_reason for stream in engine.closed] == [CutReason.CLIENT_GONE]


async def test_nonsense_behind_a_request_does_not_disturb_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        await client.send(post(STREAM))
        await engine.until(lambda: bool(engine.submissions))
        engine.write("a")
        await client.reader.readuntil(b'"a"')
        await client.send(b"\0 nonsense\r\n\r\n")
        await until(lambda: "Invalid HTTP request received" in caplog.text)
        engine.write("b")
        engine.end()
        rest = await client.rest()
        assert b"[DONE]" in rest
        assert b"HTTP/1.1" not in rest
