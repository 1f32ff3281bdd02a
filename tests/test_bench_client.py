"""The benchmark's client: it parses streams however they are divided, and recognises the errors of servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.bench.body import ChunkedBody, SizedBody, body_of
from app.bench.client import Client
from app.bench.events import Backlog, EventSplitter, StreamReply
from app.bench.outcome import BenchError, Outcome
from app.bench.workload import PlannedRequest
from tests.scripted_engine import ScriptedEngine, listening, make_app

COMPLETIONS = "/v1/completions"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = [{"text": "a"}, {"text": "b"}, {"text": "", "finish_reason": "length"}]


@dataclass
class Canned:
    """A server of bytes: `answer` gets the route and the JSON of each request. None closes without an answer."""

    answer: Callable[[str, Any], bytes | None]
    closes: bool = False
    num_connections: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(lines.get("content-length", 0)))
        self.asked.append((head.split(" ")[1], json.loads(body) if body else None))
        answered = self.answer(*self.asked[-1])
        writer.write(answered or b"")
        await writer.drain()
        return answered is not None and not self.closes


def chunked(*data: bytes, complete: bool = True) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in data) + (b"0\r\n\r\n" if complete else b"")


def events(choices: list[dict[str, Any]], *more: Any, done: bool = True) -> list[bytes]:
    """Event by event: choices, then whole events, then [DONE]."""
    content = [json.dumps({"choices": [{"index": 0, "finish_reason": None, **choice}]}) for choice in choices]
    content += [json.dumps(event) for event in more]
    return [f"data: {each}\n\n".encode() for each in (*content, *(["[DONE]"] if done else []))]


def answer_json(body: Any, status: str = "200 OK") -> bytes:
    content = json.dumps(body).encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        + content
    )


def asked_for() -> Outcome:
    return Outcome(PlannedRequest("", 1, 2))


async def ask(url: str, **fields: Any) -> Outcome:
    """One streamed completion of a server."""
    outcome, client = asked_for(), Client(url)
    body = {"prompt": [104, 105], "stream": True, "stream_options": {"include_usage": True}, **fields}
    await client.stream(client.message(COMPLETIONS, json.dumps(body).encode()), outcome)
    client.close()
    return outcome


# Reading


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_a_chunked_body_is_the_same_however_it_is_divided(size: int) -> None:
    raw = chunked(b"data: one\n\n", b"data: ", b"two\n\n" * 30)
    body = ChunkedBody()
    content = b"".join(body.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert content == b"data: one\n\ndata: " + b"two\n\n" * 30
    assert body.complete


def test_the_content_of_a_chunk_is_available_before_the_chunk_is_complete() -> None:
    assert ChunkedBody().feed(b"10\r\nhalf of") == b"half of"


def test_chunks_may_have_extensions_and_bodies_trailer_fields() -> None:
    body = ChunkedBody()
    assert body.feed(b"2;name=value\r\nab\r\n0\r\nDigest: x\r\n") == b"ab"
    assert not body.complete, "what follows would be taken for the next response"
    assert body.feed(b"\r\n") == b""
    assert body.complete


def test_a_body_of_known_length_is_complete_with_it_and_one_without_by_the_end() -> None:
    body, endless = body_of({"content-length": "4"}), body_of({})
    assert (body.feed(b"abc"), body.complete, body.close()) == (b"abc", False, False)
    assert (body.feed(b"de"), body.complete) == (b"d", True)
    assert (endless.feed(b"abc"), endless.complete, endless.close()) == (b"abc", False, True)
    assert SizedBody(0).complete


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_events_are_the_same_however_they_are_divided_and_whatever_ends_a_line(size: int, newline: bytes) -> None:
    stream = b'data: {"a":1}\n\n: ping\n\nevent: x\ndata:2\nid: 7\n\ndata: 3\ndata: 4\n\ndata: [DONE]\n\n'
    stream = stream.replace(b"\n", newline)
    splitter = EventSplitter()
    found = [each for at in range(0, len(stream), size) for each in splitter.feed(stream[at : at + size])]
    assert found == [b'{"a":1}', b"2", b"3\n4", b"[DONE]"]


def read(*contents: bytes, room: int = 0) -> Outcome:
    """An event stream whose pieces arrive at 1, 2, 3, … seconds."""
    outcome = asked_for()
    reply = StreamReply(outcome, Backlog(room))
    reply.begin(200, {"content-type": "text/event-stream; charset=utf-8"})
    for at, content in enumerate(contents, start=1):
        reply.feed(content, float(at))
    reply.read()
    return outcome


def test_text_end_and_usage_are_distinguished() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    outcome = read(*events(WHOLE, {"choices": [], "usage": usage}))
    assert outcome.ok
    assert (outcome.text_times, outcome.finished_at, outcome.finish_reason) == ([1.0, 2.0], 3.0, "length")
    assert (outcome.num_prompt_tokens, outcome.num_output_tokens, outcome.num_cached_tokens) == (9, 3, 8)


def test_the_first_event_of_a_chat_is_no_token_but_reasoning_and_tool_calls_are() -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "a"},
        {"tool_calls": [{"index": 0}]},
    ]
    outcome = read(*events([*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": "stop"}]))
    assert outcome.ok
    assert outcome.text_times == [2.0, 3.0, 4.0]


def test_a_token_may_have_no_text_yet_and_the_last_event_may_have_some() -> None:
    assert read(*events([{"text": ""}, {"text": "é", "finish_reason": "length"}])).text_times == [1.0, 2.0]


def test_without_usage_events_with_text_are_counted() -> None:
    outcome = read(*events(WHOLE))
    assert (outcome.counted_tokens, outcome.num_output_tokens) == (None, 2)


# Streams of a real server


async def test_a_whole_stream_of_our_server_succeeds_with_its_counts() -> None:
    async with listening(make_app(ScriptedEngine(script=list(b"abcdefgh")))) as (url, _):
        outcome = await ask(url, max_tokens=5)
    assert outcome.ok
    assert (outcome.status, outcome.finish_reason) == (200, "length")
    assert (outcome.num_prompt_tokens, outcome.num_output_tokens, outcome.num_cached_tokens) == (2, 5, 1)
    assert 0 < len(outcome.text_times) <= 5
    assert outcome.text_times == sorted(outcome.text_times)
    assert outcome.ttft is not None
    assert outcome.e2e is not None
    assert 0 < outcome.ttft <= outcome.e2e


async def test_connections_are_used_again_and_a_closed_one_is_replaced() -> None:
    server = Canned(lambda *_: EVENT_STREAM + chunked(*events(WHOLE)))
    async with server.listening() as url:
        client = Client(url)
        outcomes = [asked_for() for _ in range(4)]
        for outcome in outcomes[:2]:
            await client.stream(client.message(COMPLETIONS, b"{}"), outcome)
        assert server.num_connections == 1
        server.closes = True
        for outcome in outcomes[2:]:
            await client.stream(client.message(COMPLETIONS, b"{}"), outcome)
        client.close()
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert server.num_connections == 2


# Addresses


@pytest.mark.parametrize("url", ["ftp://server", "http://", "http:///v1"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(BenchError, match="not the address"):
        Client(url)


@pytest.mark.parametrize("url", ["server:80/api/v1/", "http://server:80/api/v1", "http://server:80/api"])
def test_an_address_may_end_in_v1_or_not(url: str) -> None:
    client = Client(url, {"Authorization": "Bearer x"})
    assert client.url == "http://server:80/api"
    head = client.message(COMPLETIONS, b"{}").split(b"\r\n")
    assert head[0] == b"POST /api/v1/completions HTTP/1.1"
    assert {b"Host: server:80", b"Authorization: Bearer x", b"Content-Length: 2"} <= set(head)
