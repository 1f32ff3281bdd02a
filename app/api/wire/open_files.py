"""Open-file limits: every connection is an open file, and a server that has run out of them answers nobody, not even a
health check.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

MAX_OPEN_FILES = 1 << 16
MAX_BACKLOG = 2048
OWN_FILES = 128
"""Reserved for what is open beside connections."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many clients may be connected, and how many more may wait to be accepted."""

    connections: int
    backlog: int


def raise_open_file_limit() -> int:
    """Let this process open as many files as it may, and return that number: the usual 1,024 is less than a full queue
    of requests needs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than it reports; the limit then stays as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def room_of(num_files: int) -> Room:
    """Divide `num_files`. The event loop accepts a whole backlog before it can refuse the first of it, so there is room
    for that too.
    """
    backlog = min(MAX_BACKLOG, num_files // 4)
    return Room(num_files - backlog - min(OWN_FILES, num_files // 4), backlog)
