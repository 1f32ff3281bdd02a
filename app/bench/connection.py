"""An HTTP/1.1 connection with the least overhead in asyncio: no stream objects, and one clock reading per packet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Protocol, cast

from app.bench.body import Body, body_of

BUFFER_BYTES = 16 * 1024
"""Size of each connection's buffer. Otherwise asyncio allocates 256 KiB for every read, which doubles its cost."""


class Reply(Protocol):
    """Receives a response as it arrives. `at` is when the bytes arrived, in monotonic seconds."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None: ...

    def feed(self, data: bytes, at: float) -> None: ...


class ConnectionCut(Exception):
    """The connection ended before the response did; `untouched` says that not a single byte of it had arrived."""

    def __init__(self, reason: str, untouched: bool) -> None:
        super().__init__(reason)
        self.untouched = untouched


class ClientConnection(asyncio.BufferedProtocol):
    """Carries one exchange at a time; `reusable` says whether another one may follow."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self.reusable = False
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._reply: Reply | None = None
        self._body: Body | None = None
        self._head = b""

    def exchange(self, message: bytes, reply: Reply) -> asyncio.Future[None]:
        """Send `message`. The future is done when the response ends; it raises ConnectionCut if that is cut off."""
        assert self._transport is not None
        self._reply, self._body, self._head = reply, None, b""
        self.reusable = False
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._ended

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        at = monotonic()
        try:
            self._receive(self._buffer[:nbytes].tobytes(), at)
        except ValueError as error:
            self._cut(f"the response is not HTTP/1.1: {error}")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._body is not None and self._body.close():
            self._end()
        else:
            self._cut(f"the connection broke: {error}" if error else "the connection was closed before the end")

    def _receive(self, data: bytes, at: float) -> None:
        if self._reply is None:
            self.abort()  # data without a request
            return
        if self._body is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = self._head[end + 4 :]
            self._body = self._begin(self._head[:end], self._reply)
        if content := self._body.feed(data):
            self._reply.feed(content, at)
        if self._body.complete:
            self._end()

    def _begin(self, head: bytes, reply: Reply) -> Body:
        version_and_status, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = version_and_status.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.reusable = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        reply.begin(int(status), headers)
        return body_of(headers)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        self._reply = None

    def _cut(self, reason: str) -> None:
        self.reusable = False
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(ConnectionCut(reason, untouched=not self._head))
        self._reply = None
