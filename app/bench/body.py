"""Finds the end of an HTTP/1.1 body. Each kind of body is fed raw bytes and returns those of the content."""

from __future__ import annotations

from collections.abc import Mapping


class ChunkedBody:
    """Transfer-Encoding: chunked. Content is returned as soon as it arrives, even that of an incomplete chunk."""

    __slots__ = ("_ending", "_left", "_rest", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._ending = False  # after the chunk of size 0, trailer fields may follow, and an empty line
        self._rest = b""
        self._left = 0  # bytes of content still missing from the current chunk

    def feed(self, data: bytes) -> bytes:
        """The content in `data`. Raises ValueError for an invalid chunk size."""
        if self._rest:
            data = self._rest + data
        pieces, position, end = [], 0, len(data)
        while position < end and not self.complete:
            if self._left == 0:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    break
                line = data[position:line_end]
                position = line_end + 2
                if self._ending:
                    self.complete = not line
                elif line:  # an empty line only ends the previous chunk
                    self._left = int(line.partition(b";")[0], 16)
                    if self._left < 0:
                        raise ValueError(f"a chunk of {self._left} bytes")
                    self._ending = self._left == 0
            if self._left:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
        self._rest = data[position:]
        return b"".join(pieces)

    def close(self) -> bool:
        """Whether the body is complete, now that the connection has ended."""
        return self.complete


class SizedBody:
    """A body with Content-Length or, if `length` is None, one that ends with the connection."""

    __slots__ = ("_left", "complete")

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        piece = data[: self._left]
        self._left -= len(piece)
        self.complete = self._left == 0
        return piece

    def close(self) -> bool:
        return self.complete or self._left is None


Body = ChunkedBody | SizedBody


def body_of(headers: Mapping[str, str]) -> Body:
    """The kind of body announced by these headers (names in lower case)."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return ChunkedBody()
    length = headers.get("content-length")
    return SizedBody(None if length is None else int(length))
