"""A client's connection, with bounds on what one may send and on how slow a client may be.

uvicorn's own connection bounds no request's head, waits forever for the rest of a request, and forever for a client to
read what it was sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.errors import ApiError
from app.api.wire.client import CLIENT, Client
from app.api.wire.framing import Outlet, Unframed
from app.api.wire.half_closed import HalfClosed
from app.api.wire.refusals import too_large, too_many, written
from app.api.wire.upgrade import without_upgrade
from app.engine.stream import CutReason

MAX_HEAD_BYTES = 1 << 16
MAX_HEADERS = 100
BYTES_FED = 1 << 14
"""The parser is fed this much at a time, so an oversized head is refused at most this much too late."""

UNSENT_BYTES = 1 << 16
"""How much the kernel may buffer beyond the client's window. Left alone, it would let that grow to megabytes."""

LINGER_SECONDS = 1.0
"""How long a refused client may go on sending. Closing the connection while it does would lose the answer."""

MAX_DISCARDED_BYTES = 1 << 20
"""How much a refused client may send before nothing more is read from it."""


class Connection(HttpToolsProtocol):
    """HTTP/1.1 by httptools, within bounds.

    `receive_seconds` is how long a request's head may take to arrive, and so may the rest of a request that is answered
    already; waiting for a body is up to the application. A client that takes nothing of its answer for `stall_seconds`
    is cut off. There are at most `max_connections` in all.

    `on_refused` is called with each error sent without the application, and `error_body` writes its body.
    """

    def __init__(
        self,
        *,
        receive_seconds: float,
        stall_seconds: float,
        max_connections: int,
        on_refused: Callable[[ApiError], None],
        error_body: Callable[[ApiError], str],
        **uvicorns: Any,
    ) -> None:
        super().__init__(**uvicorns)
        self._receive_seconds = receive_seconds
        self._stall_seconds = stall_seconds
        self._max_connections = max_connections
        self._on_refused = on_refused
        self._error_body = error_body
        self._open: deque[RequestResponseCycle] = deque()
        self._num_unparsed_bytes = 0
        self._in_body = False
        self._is_refusing = False
        self._receive_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._half_closed: HalfClosed | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Whatever the kernel does not take at once counts as unread: uvicorn pauses, and the stall timer runs.
        transport.set_write_buffer_limits(high=1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._start_receive_timer()
        if len(self.connections) > self._max_connections:
            self._refuse(too_many(self._max_connections))
            self.transport.close()  # without lingering: its place is what is needed

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify every open request: uvicorn notifies only the latest, but earlier ones may still be being answered."""
        self._stop_receive_timer()
        self._stop_stall_timer()
        if self._half_closed is not None:
            self._half_closed.close()
        for cycle in self._open:
            _disconnect(cycle)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to keep the connection open, to answer a request that has arrived whole. TLS has no half-closed
        connections.

        Where no probe can be sent, inside an answer and in HTTP/1.0, a client that closes its side is taken to have
        left: what nobody will read must stop being computed at once.
        """
        if not self._open or self._in_body or self._is_refusing or self.scheme == "https":
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
        if self._is_refusing:
            self._discard(len(data))
            return
        if not self._in_body:
            self._start_receive_timer()
        for start in range(0, len(data), BYTES_FED):
            if self._is_refusing:
                return
            part = data[start : start + BYTES_FED]
            if not self._in_body:
                part = without_upgrade(part)
            self._num_unparsed_bytes += len(part)
            super().data_received(part)
            if self._num_unparsed_bytes > MAX_HEAD_BYTES:
                self._refuse(too_large(f"The request's head is larger than the {MAX_HEAD_BYTES} bytes allowed."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for the trailers of a body too."""
        if len(self.headers) == MAX_HEADERS:
            self._refuse(too_large(f"The request has more than the {MAX_HEADERS} header fields allowed."))
            raise OverflowError  # stops the parser
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_receive_timer()
        self._num_unparsed_bytes, self._in_body = 0, True
        if self.parser.should_upgrade():
            self._refuse(ApiError(501, "This server speaks HTTP/1.1 only; leave out 'Upgrade'.", code="no_upgrade"))
            raise OverflowError  # stops the parser, which would take the body for another protocol
        super().on_headers_complete()
        self._open.append(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.1":
            outlet: Outlet | None = Outlet(self.transport, self.flow)
        else:
            outlet, app = None, Unframed(app, cycle)
        cycle.scope["state"][CLIENT] = Client(outlet)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._num_unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_receive_timer()
        self._num_unparsed_bytes, self._in_body = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._open.popleft()
        super().on_response_complete()
        if self._in_body and not self._open:
            self._start_receive_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (our own is in the shape of all other errors)
        """Called when the parser gives up."""
        self._refuse(ApiError(400, "The request is not valid HTTP/1.1.", code="invalid_http"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self._start_stall_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stall_timer()

    def check_for_stall(self, before: int) -> None:
        """Cut off a client that has taken none of the `before` bytes since: they would be kept forever."""
        if self.transport.get_write_buffer_size() < before:
            self._stall_timer = self._start_stall_timer()
            return
        for cycle in self._open:
            cycle.scope["state"][CLIENT].left_as = CutReason.CLIENT_STALLED
        self.transport.abort()

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and listen no more; if an answer has begun, let it end instead."""
        if self._is_refusing:
            return
        self._is_refusing = True
        self._on_refused(error)
        if self._open and self._open[0].response_started:
            self._open[0].keep_alive = False
            return
        for cycle in self._open:
            _disconnect(cycle)
        self.transport.write(written(error, self._error_body(error), self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_receive_timer()
        self._receive_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _discard(self, num_bytes: int) -> None:
        """Go on reading, the only way to notice a disconnect, but not all that a refused client may send."""
        self._num_unparsed_bytes += num_bytes
        if self._num_unparsed_bytes > MAX_DISCARDED_BYTES and not self._open:
            self.flow.pause_reading()

    def _start_receive_timer(self) -> None:
        if self._receive_timer is None:
            self._receive_timer = self.loop.call_later(self._receive_seconds, self._receive_timed_out)

    def _stop_receive_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _receive_timed_out(self) -> None:
        self._receive_timer = None
        if self._open:
            self._open[0].keep_alive = False
        elif self._num_unparsed_bytes and not self._in_body:
            message = f"The request's head did not come within {self._receive_seconds:g} seconds."
            self._refuse(ApiError(408, message, code="receive_timeout"))
        else:
            self.transport.close()

    def _start_stall_timer(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self._stall_seconds, self.check_for_stall, self.transport.get_write_buffer_size())

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _disconnect(cycle: RequestResponseCycle) -> None:
    """What uvicorn itself does for the latest request."""
    cycle.disconnected = True
    cycle.message_event.set()
