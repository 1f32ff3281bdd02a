"""How a response of unknown length goes over a connection: in chunks, or until the connection closes."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Outlet:
    """Writes parts of a chunked body past ASGI, which would have to wake a task for each of them."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow

    @property
    def is_open(self) -> bool:
        """Whether the client is there and takes what it is sent."""
        return not (self._flow.write_paused or self._transport.is_closing())

    def write(self, part: bytes) -> None:
        """To be called only while it is open, after the response has begun and before it ends."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))


class Unframed:
    """Answers an HTTP/1.0 client, which does not know chunks (RFC 9112, section 6.1).

    uvicorn would send chunks. Here a body without `Content-Length` is sent as it is, and ends with the connection.
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
