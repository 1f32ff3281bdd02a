"""Messages on a pipe. Each is preceded by its length, so that a reader never blocks on the rest of a message."""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

from app.messages import Command, Event

MAX_READ_BYTES = 1 << 16
"""The default capacity of a pipe on Linux."""

_LENGTH = struct.Struct("!I")

Message = TypeVar("Message", Command, Event)


def encode(message: Command | Event) -> bytes:
    """The bytes of a message on the pipe: a four-byte big-endian length, then the pickle."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def write_event(fd: int, event: Event) -> None:
    """Write a whole event, waiting while the pipe is full. Raises BrokenPipeError if the reading end is closed."""
    rest = memoryview(encode(event))
    while rest:
        rest = rest[os.write(fd, rest) :]


class CommandWriter:
    """Writes commands from the event loop without ever blocking it.

    What a full pipe does not accept is buffered until it does, for example while the reading process is suspended.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._unwritten = bytearray()
        self._is_waiting = False

    def write(self, command: Command) -> None:
        """Send a command. Does nothing if the reading end is closed, or after `close`."""
        self._unwritten += encode(command)
        if not self._is_waiting:
            self._flush()

    def close(self) -> None:
        """Discard what is still buffered. The file descriptor itself is closed by its owner."""
        self._wait(False)
        self._fd = -1
        self._unwritten.clear()

    def _flush(self) -> None:
        try:
            while self._unwritten and self._fd >= 0:
                del self._unwritten[: os.write(self._fd, self._unwritten)]
        except BlockingIOError:
            self._wait(True)
        except BrokenPipeError:
            self.close()
        else:
            self._unwritten.clear()
            self._wait(False)

    def _wait(self, for_room: bool) -> None:
        if for_room is self._is_waiting:
            return
        self._is_waiting = for_room
        loop = asyncio.get_running_loop()
        if for_room:
            loop.add_writer(self._fd, self._flush)
        else:
            loop.remove_writer(self._fd)


class PipeReader(Generic[Message]):
    """Reads messages from the other end of a pipe; `read` is to be called when the pipe is readable."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    def read(self) -> Iterator[Message]:
        """Read from the pipe once and return the messages that are complete. Raises EOFError at its end."""
        data = os.read(self._fd, MAX_READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data
        return self._whole_messages()

    def _whole_messages(self) -> Iterator[Message]:
        size = _LENGTH.size
        while len(self._buffer) >= size:
            end = size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            content = self._buffer[size:end]
            del self._buffer[:end]
            yield pickle.loads(content)
