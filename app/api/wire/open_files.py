"""Open files: each connection is one, and a server that has no more of them hears nobody, not even a probe."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

MAX_OPEN_FILES = 1 << 16
MAX_BACKLOG = 2048
OWN_FILES = 128
"""What is open beside connections, and then some."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many clients may be connected, and how many more may wait for that."""

    connections: int
    backlog: int


def allow_many_files() -> int:
    """Let this process open as many files as it may; how many that is. The usual 1,024 is less than a full queue."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # a system may have another bound than it tells; then all is as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def room_of(num_files: int) -> Room:
    """The event loop accepts a whole backlog before the first of it can be refused, so there is room for that too."""
    backlog = min(MAX_BACKLOG, num_files // 4)
    return Room(num_files - backlog - min(OWN_FILES, num_files // 4), backlog)
