"""A client that has sent its request and closed its side of the connection may still be waiting for the answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

POLL_SECONDS = 0.1
"""asyncio reports nothing more about a connection whose end has been read, so the socket is polled for its error."""

PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response. A client must accept any number of them at any time (RFC 9110, section 15.2)."""


class HalfClosed:
    """Aborts the connection once the client turns out to be gone.

    A half-closed connection looks like one that is closed on both sides until something is sent: a client that is gone
    then answers with a reset. So probes are sent for as long as `may_probe` says that no answer has begun.
    """

    def __init__(self, transport: asyncio.Transport, may_probe: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_probe = may_probe
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._poll()

    def close(self) -> None:
        self._timer.cancel()

    def _poll(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)
        if self._transport.is_closing():
            self._timer.cancel()
        elif self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
        elif self._may_probe():
            self._transport.write(PROBE)
