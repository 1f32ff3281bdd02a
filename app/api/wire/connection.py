"""A client's connection: how much of a request, and how slow a client, one connection may hold on to.

uvicorn's own has no bound on a request's head, waits for ever for the rest of a request, and for ever for a client to
read what it was sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api.errors import ApiError
from app.api.wire.framing import OUTLET, Outlet, Unframed
from app.api.wire.half_closed import HalfClosed
from app.api.wire.upgrade import without_upgrade
from app.messages import FinishReason

MAX_HEAD_BYTES = 1 << 16
MAX_HEADERS = 100
BYTES_FED = 1 << 14
"""The parser gets this much at a time, so a head is refused when it is at most this much too long."""

UNSENT_BYTES = 1 << 16
"""What the kernel may hold beyond what the client's window takes. By itself it would let that grow to megabytes."""

LINGER_SECONDS = 1.0
"""How long a refused client may still send. A connection closed in the middle of that would lose the answer."""

MAX_DISCARDED_BYTES = 1 << 20
"""Bytes that are read of a refused client before it is left to wait for its end."""

RETRY_SECONDS = 1
"""When somebody may have left, where there are too many."""

LEFT_AS = "left_as"
"""Where a scope's state says how the client has left, if it is not simply gone."""


class Connection(HttpToolsProtocol):
    """HTTP/1.1 by httptools, within bounds.

    `receive_seconds` bound a request's head, and what still comes of a request once it is answered; its body is the
    application's to wait for. A client that takes nothing of its answer for `stall_seconds` is cut off. `refused` is
    told each error that the application does not know of. Of all connections there are at most `most_connections`.
    """

    def __init__(
        self,
        *,
        receive_seconds: float,
        stall_seconds: float,
        most_connections: int,
        refused: Callable[[ApiError], None],
        **uvicorns: Any,
    ) -> None:
        super().__init__(**uvicorns)
        self._receive_seconds = receive_seconds
        self._stall_seconds = stall_seconds
        self._most_connections = most_connections
        self._refused = refused
        self._open: deque[RequestResponseCycle] = deque()
        self._num_fruitless = 0
        self._in_body = False
        self._is_deaf = False
        self._impatience: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._half_closed: HalfClosed | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Whatever the kernel does not take at once counts as unread: uvicorn waits, and the clock runs.
        transport.set_write_buffer_limits(high=1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._wait_for_client()
        if len(self.connections) > self._most_connections:
            self._refuse(_too_many(self._most_connections))
            self.transport.close()  # without lingering: its place is what is lacking

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells the latest request only; one before it may still be being answered."""
        self._wait_no_longer()
        self._end_stall()
        if self._half_closed is not None:
            self._half_closed.close()
        for cycle in self._open:
            _disconnect(cycle)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what has come whole, as long as the client is there for it. TLS has no half-closed connections.

        Where nothing can be sent to find that out, within an answer and in HTTP/1.0, whoever closes is taken to leave:
        what is computed for nobody is to end at once.
        """
        if not self._open or self._in_body or self._is_deaf or self.scheme == "https":
            return False
        latest = self._open[-1]
        if self._open[0].response_started or latest.scope["http_version"] != "1.1":
            return False
        latest.keep_alive = False
        self._half_closed = HalfClosed(self.transport, may_probe=self._may_probe)
        return True

    def _may_probe(self) -> bool:
        return bool(self._open) and not self._open[0].response_started

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._discard(len(data))
            return
        if not self._in_body:
            self._wait_for_client()
        for start in range(0, len(data), BYTES_FED):
            if self._is_deaf:
                return
            part = data[start : start + BYTES_FED]
            if not self._in_body:
                part = without_upgrade(part)
            self._num_fruitless += len(part)
            super().data_received(part)
            if self._num_fruitless > MAX_HEAD_BYTES:
                self._refuse(_too_large(f"The request's head is larger than the {MAX_HEAD_BYTES} bytes allowed."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also called for the trailers of a body."""
        if len(self.headers) == MAX_HEADERS:
            self._refuse(_too_large(f"The request has more than the {MAX_HEADERS} header fields allowed."))
            raise OverflowError  # which ends the parser's work
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._wait_no_longer()
        self._num_fruitless, self._in_body = 0, True
        if self.parser.should_upgrade():
            self._refuse(ApiError(501, "This server speaks HTTP/1.1 only; leave out 'Upgrade'.", code="no_upgrade"))
            raise OverflowError  # which ends the parser's work: it would take the body for another protocol
        super().on_headers_complete()
        self._open.append(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.1":
            cycle.scope["state"][OUTLET] = Outlet(self.transport, self.flow)
        else:
            app = Unframed(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._num_fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._wait_no_longer()
        self._num_fruitless, self._in_body = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._open.popleft()
        super().on_response_complete()
        if self._in_body and not self._open:
            self._wait_for_client()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (ours says it in the shape of the others)
        """The parser gives up."""
        self._refuse(ApiError(400, "The request is not valid HTTP/1.1.", code="invalid_http"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self._watch_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_stall()

    def look_at_unread(self, before: int) -> None:
        """Cut off a client that has taken none of `before` bytes since: they would be kept for ever."""
        if self.transport.get_write_buffer_size() < before:
            self._stall = self._watch_unread()
            return
        for cycle in self._open:
            cycle.scope["state"][LEFT_AS] = FinishReason.CLIENT_STALLED
        self.transport.abort()

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and hear no more; an answer that has begun is brought to its end instead."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._refused(error)
        if self._open and self._open[0].response_started:
            self._open[0].keep_alive = False
            return
        for cycle in self._open:
            _disconnect(cycle)
        self.transport.write(_written(error, self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait_no_longer()
        self._impatience = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _discard(self, num_bytes: int) -> None:
        """Read on, since only that tells when the client leaves; but not all that a refused one may send."""
        self._num_fruitless += num_bytes
        if self._num_fruitless > MAX_DISCARDED_BYTES and not self._open:
            self.flow.pause_reading()

    def _wait_for_client(self) -> None:
        if self._impatience is None:
            self._impatience = self.loop.call_later(self._receive_seconds, self._waited)

    def _wait_no_longer(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _waited(self) -> None:
        self._impatience = None
        if self._open:
            self._open[0].keep_alive = False
        elif self._num_fruitless and not self._in_body:
            message = f"The request's head did not come within {self._receive_seconds:g} seconds."
            self._refuse(ApiError(408, message, code="receive_timeout"))
        else:
            self.transport.close()

    def _watch_unread(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self._stall_seconds, self.look_at_unread, self.transport.get_write_buffer_size())

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


def _disconnect(cycle: RequestResponseCycle) -> None:
    """What uvicorn does for the request that it knows of."""
    cycle.disconnected = True
    cycle.message_event.set()


def _too_large(message: str) -> ApiError:
    return ApiError(431, message, code="headers_too_large")


def _too_many(most: int) -> ApiError:
    message = f"There are {most} connections already, as many as this server can have."
    return ApiError(
        503, message, type="server_error", code="too_many_connections", headers={"Retry-After": str(RETRY_SECONDS)}
    )


def _written(error: ApiError, headers: list[tuple[bytes, bytes]]) -> bytes:
    body = error.body().encode()
    of_error = ((name.encode(), value.encode()) for name, value in (error.headers or {}).items())
    own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close"))
    fields = b"".join(b"%b: %b\r\n" % field for field in (*headers, *of_error, *own))
    return STATUS_LINE[error.status] + fields + b"\r\n" + body
