"""A client that has sent its request and closed its own side of the connection may still be waiting for the answer."""

from __future__ import annotations

import asyncio
import socket

POLL_SECONDS = 0.02
"""asyncio no longer reports anything about a connection whose end has been read, so its error is asked for."""

PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response, which a client may get at any time (RFC 9110, section 15.2)."""


class HalfClosed:
    """Aborts the connection once its client turns out to have gone.

    A half-closed connection looks the same as one that is closed at both ends until something is sent: then whoever has
    gone answers with a reset. So a probe is sent at once, which is why the answer must not have begun.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        transport.write(PROBE)
        self._watch()

    def close(self) -> None:
        self._timer.cancel()

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        if self._transport.is_closing():
            return
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
        else:
            self._watch()
