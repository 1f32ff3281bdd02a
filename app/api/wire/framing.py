"""How a response of unknown length goes over a connection: in chunks, or until the connection is closed."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

OUTLET = "outlet"
"""Where a scope's state has the `Outlet` of its response, if that goes in chunks."""


class Outlet:
    """Takes the parts of a body that goes in chunks, past ASGI: for that a task would have to be woken for each."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow

    @property
    def is_open(self) -> bool:
        """Whether there is a client, which takes what it is sent."""
        return not (self._flow.write_paused or self._transport.is_closing())

    def write(self, part: bytes) -> None:
        """Only while it is open, and between the beginning of the response and its end."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))


class Unframed:
    """Answers a client of HTTP/1.0, which does not know chunks (RFC 9112, section 6.1).

    uvicorn would send chunks. Here a body without `Content-Length` goes as it is, and the connection's end is its own.
    """

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self._cycle
        cycle.keep_alive = False
        has_length = False

        async def send_unframed(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unframed)
