"""A client that sends bytes as it pleases, right or wrong, and looks at what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until it is so, for what tells nobody when it is."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        self._transport.resume_reading()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_without_end(self, part: bytes) -> None:
        """Until the server has had enough."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.send(part)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """The status, header fields and JSON of the next answer."""
        async with asyncio.timeout(30):
            status_line, *fields = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status_line.split()[1]), headers, json.loads(body)

    async def rest(self) -> bytes:
        """What comes until the connection is closed, or reset because the server no longer hears."""
        received = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                while part := await self.reader.read(1 << 16):
                    received += part
        return received


@asynccontextmanager
async def connected(address: str, trust: ssl.SSLContext | None = None) -> AsyncIterator[RawClient]:
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=trust)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def post(body: bytes, path: str = "/v1/completions", extra: bytes = b"", length: int | None = None) -> bytes:
    """A whole request, unless `length` promises more than there is."""
    head = b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
    return head % (path.encode(), len(body) if length is None else length, extra) + body
