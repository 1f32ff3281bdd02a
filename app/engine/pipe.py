"""Events on a pipe. Each has its length before it, so that a reader never has to wait for the rest of one."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator

from app.messages import Event

MOST_BYTES_READ = 1 << 16
"""What a pipe of Linux holds."""

_LENGTH = struct.Struct("!I")


def write_event(fd: int, event: Event) -> None:
    """Wait until the pipe has taken it all. Raises BrokenPipeError if nobody can read it any more."""
    content = pickle.dumps(event, pickle.HIGHEST_PROTOCOL)
    rest = memoryview(_LENGTH.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(fd, rest) :]


class EventReader:
    """The end that is read, whenever there is something to read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    def read(self) -> Iterator[Event]:
        """The events that have come whole, from one read of the pipe. Raises EOFError at its end."""
        data = os.read(self._fd, MOST_BYTES_READ)
        if not data:
            raise EOFError
        self._buffer += data
        return self._whole_events()

    def _whole_events(self) -> Iterator[Event]:
        size = _LENGTH.size
        while len(self._buffer) >= size:
            end = size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            content = self._buffer[size:end]
            del self._buffer[:end]
            yield pickle.loads(content)
