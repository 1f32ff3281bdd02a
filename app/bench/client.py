"""The HTTP client: it keeps connections open between requests, and turns every failure into an outcome."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from app.bench.connection import ClientConnection, ConnectionCut, Reply
from app.bench.events import Backlog, StreamReply
from app.bench.outcome import BenchError, Outcome


class WholeReply:
    """Collects a whole response."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = b""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers

    def feed(self, data: bytes, at: float) -> None:  # noqa: ARG002
        self.body += data

    def json(self) -> Any:
        """The body parsed as JSON; None if it is not JSON or the status is not 200."""
        try:
            return json.loads(self.body) if self.status == 200 else None
        except ValueError:
            return None


class Client:
    """The client of one server. `timeout` limits each request from sending to its end, in seconds."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, timeout: float = 600.0) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BenchError(f"{url} is not the address of a server, like http://127.0.0.1:8000")
        self._base = parts.path.rstrip("/").removesuffix("/v1")
        self.url = f"{parts.scheme}://{parts.netloc}{self._base}"
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        given = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "millrace-bench", **(headers or {})}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._timeout = timeout
        self._idle: list[ClientConnection] = []

    async def get(self, path: str) -> WholeReply:
        """Send a GET request. Raises BenchError if there is no response."""
        reply = WholeReply()
        message = f"GET {self._base}{path} HTTP/1.1\r\n{self._head}\r\n".encode("latin-1")
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(message, reply)
        except (OSError, ConnectionCut) as error:  # a TimeoutError is an OSError
            raise BenchError(f"no answer from {self.url}{path}: {_reason(error)}") from error
        return reply

    def message(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST request with a JSON body."""
        head = (
            f"POST {self._base}{path} HTTP/1.1\r\n{self._head}Accept: text/event-stream\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1") + body

    async def stream(self, message: bytes, outcome: Outcome) -> None:
        """Send `message` and read the stream into `outcome`. Whatever the server does, nothing is raised."""
        reply = StreamReply(outcome, Backlog(0))
        await self.send(message, reply)
        reply.read()

    async def send(self, message: bytes, reply: StreamReply) -> None:
        """Send `message` and receive the stream into `reply`, which the caller parses later."""
        reply.outcome.sent_at = monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(message, reply)
        except TimeoutError:
            reply.broken = f"timeout after {self._timeout:g} s"
        except (OSError, ConnectionCut) as error:
            reply.broken = _reason(error)

    def close(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _exchange(self, message: bytes, reply: Reply) -> None:
        while connection := self._take_idle():
            try:
                return await self._run(connection, message, reply)
            except ConnectionCut as cut:
                if not cut.untouched:
                    raise  # otherwise the server closed an idle connection, which is no failure: try another one
        return await self._run(await self._connect(), message, reply)

    async def _run(self, connection: ClientConnection, message: bytes, reply: Reply) -> None:
        try:
            await connection.exchange(message, reply)
        except BaseException:  # the rest of this response must never be taken for the next one
            connection.abort()
            raise
        if connection.reusable and connection.is_open:
            self._idle.append(connection)
        else:
            connection.abort()

    def _take_idle(self) -> ClientConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(ClientConnection, self._host, self._port, ssl=self._ssl)
        return connection


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
