"""Clients that are older or plainer than most: HTTP/1.0, a writing side that is closed early, odd spellings."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ServerProcess, until
from tests.scripted_engine import data_of

TEXT = "the mill"
NUM_TOKENS = 6
ENDLESS = 4096

BODY = {"prompt": TEXT, "max_tokens": NUM_TOKENS, "temperature": 0}


def request(body: dict[str, Any], version: str = "1.1") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def connect(server: ServerProcess) -> socket.socket:
    url = urlsplit(server.url)
    assert url.hostname is not None
    return socket.create_connection((url.hostname, url.port or 0), timeout=60)


def send_and_close(connection: socket.socket, data: bytes) -> None:
    """Send it and close the writing side at once: an end that comes within an answer means that the client left."""
    connection.sendall(data, getattr(socket, "MSG_MORE", 0))
    connection.shutdown(socket.SHUT_WR)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(1 << 16):
        received += part
    return received


def num_gone(server: ServerProcess) -> float:
    return server.metrics()['millrace_request_success_total{finished_reason="client_gone"}']


def split(answer: bytes) -> tuple[str, dict[str, str], str]:
    """Status line, header fields and body of an answer."""
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    return status, {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}, body


def text_of(body: str, streamed: bool) -> str:
    if not streamed:
        text: str = json.loads(body)["choices"][0]["text"]
        return text
    *chunks, done = data_of(body)
    assert done == "[DONE]"
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_to_http_1_0_has_no_chunks_and_ends_with_the_connection(
    server: ServerProcess, model: TextModel, streamed: bool
) -> None:
    with connect(server) as connection:
        connection.sendall(request(BODY | {"stream": streamed}, "1.0"))
        status, headers, body = split(read_to_end(connection))
    assert status.split()[1] == "200"
    assert "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    assert text_of(body, streamed) == model.continuation(TEXT, NUM_TOKENS)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_closes_its_writing_side_behind_its_request_is_answered(
    server: ServerProcess, model: TextModel, streamed: bool
) -> None:
    with connect(server) as connection:
        send_and_close(connection, request(BODY | {"stream": streamed}))
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read().decode()
    assert (answer.status, answer.headers["connection"]) == (httpx.codes.OK, "close")
    assert text_of(body, streamed) == model.continuation(TEXT, NUM_TOKENS)


def test_a_client_that_closes_its_writing_side_behind_two_requests_has_two_answers(server: ServerProcess) -> None:
    get = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(server) as connection:
        send_and_close(connection, get * 2)
        assert read_to_end(connection).count(b"HTTP/1.1 200") == 2


def test_a_client_that_closes_its_writing_side_before_its_request_is_whole_is_let_go(server: ServerProcess) -> None:
    with connect(server) as connection:
        send_and_close(connection, request(BODY)[:-5])
        assert read_to_end(connection) == b""


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_closes_one_side_and_then_leaves_frees_what_it_held(
    server: ServerProcess, streamed: bool
) -> None:
    before = num_gone(server)
    with connect(server) as connection:
        send_and_close(connection, request(BODY | {"max_tokens": ENDLESS, "stream": streamed}))
        until(lambda: server.metrics()["millrace_num_requests_running"] == 1, "it runs")
    until(lambda: num_gone(server) > before, "it is counted as gone")
    until(server.is_idle, "nothing runs for a client that has left")
    assert num_gone(server) == before + 1


def test_a_client_that_closes_one_side_reads_what_there_is_and_leaves_frees_what_it_held(server: ServerProcess) -> None:
    before = num_gone(server)
    with connect(server) as connection:
        send_and_close(connection, request(BODY | {"max_tokens": ENDLESS}))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
    until(lambda: num_gone(server) > before, "it is counted as gone")
    until(server.is_idle, "nothing runs for a client that has left")
    assert num_gone(server) == before + 1


@pytest.mark.parametrize(
    "head", ["Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", "connection: upgrade\r\nuPGRADE: websocket\r\n"]
)
def test_an_upgrade_that_a_client_offers_is_ignored(server: ServerProcess, model: TextModel, head: str) -> None:
    first, rest = request(BODY).split(b"\r\n", 1)
    with connect(server) as connection:
        connection.sendall(b"%b\r\n%b%b" % (first, head.encode(), rest))
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, text_of(answer.read().decode(), streamed=False)) == (
            httpx.codes.OK,
            model.continuation(TEXT, NUM_TOKENS),
        )


def test_an_upgrade_whose_body_would_be_taken_for_a_request_is_refused(server: ServerProcess) -> None:
    hidden = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nContent-Length: %d\r\n"
        % len(hidden)
    )
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (head + b"Upg", b"rade: h2c\r\n\r\n", hidden):
            connection.sendall(part)
        answer = read_to_end(connection)
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1


@pytest.mark.parametrize("encoding", ["Identity", "IDENTITY", ""])
def test_a_body_whose_encoding_is_identity_in_any_spelling_is_read(server: ServerProcess, encoding: str) -> None:
    answer = httpx.post(f"{server.url}/v1/completions", json=BODY, headers={"Content-Encoding": encoding}, timeout=60)
    assert answer.status_code == httpx.codes.OK
