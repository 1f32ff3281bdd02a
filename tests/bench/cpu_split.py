"""Where a process spends its CPU time: its stack sampled by a timer that runs only while it computes."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERVAL = 0.001
PARTS = {
    "multiprocessing/": "pipe",
    "app/engine/": "fan-out",
    "app/metrics": "metrics",
    "prometheus_client/": "metrics",
    "app/text/": "detokenising",
    "app/api/": "api",
    "json/": "api",
    "sse_starlette/": "sse-starlette and anyio",
    "anyio/": "sse-starlette and anyio",
    "sniffio/": "sse-starlette and anyio",
    "starlette/": "starlette and fastapi",
    "fastapi/": "starlette and fastapi",
    "uvicorn/": "uvicorn",
    "h11/": "uvicorn",
    "asyncio/selector_events": "sockets",
    "asyncio/": "event loop",
    "selectors": "event loop",
}
"""Parts of a source file's path, and what time spent there is spent on; the first that fits counts."""


def part_of(frame: FrameType | None) -> tuple[str, str]:
    """The innermost frame with a name in `PARTS`: what it works for, and its function. C code counts for its caller."""
    while frame is not None:
        path = frame.f_code.co_filename
        for piece, part in PARTS.items():
            if piece in path:
                return part, frame.f_code.co_qualname
        frame = frame.f_back
    return "other", ""


@contextmanager
def sampled_cpu() -> Iterator[Counter[tuple[str, str]]]:
    """Counts samples by part and function, one for each `INTERVAL` of CPU seconds. For the main thread only."""
    samples: Counter[tuple[str, str]] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        samples[part_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def print_split(samples: Counter[tuple[str, str]]) -> None:
    """The share of each part, and of the functions in it that take more than a hundredth of the whole."""
    parts: Counter[str] = Counter()
    for (part, _), count in samples.items():
        parts[part] += count
    for part, count in parts.most_common():
        print(f"{count / samples.total():6.1%}  {part}")
        for (owner, function), own in samples.most_common():
            if owner == part and own > samples.total() / 100:
                print(f"{'':8}{own / samples.total():6.1%}  {function}")
