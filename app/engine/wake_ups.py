"""When readers are told that they have tokens: at once, and in rounds where many readers have them at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.engine.stream import TokenStream

FEW_STREAMS = 16
"""So many are always told at once."""

MAX_EVENTS_PER_SECOND = 5000
"""Of all streams together, unless each of them would have to wait for more than `MAX_PAUSE_SECONDS`."""

MAX_EVENTS_PER_SECOND_ON_SHARED_CORES = 2000
"""The same where the engine computes on the cores that events are made on: one takes it the time of three tokens."""

MAX_PAUSE_SECONDS = 1 / 30
"""Seconds between two rounds: less than a reader sees."""


class WakeUpCoalescer:
    """Wakes readers. What an event costs beside its tokens is most of what a token costs, and where many streams run
    it is time that the engine would use: what comes between two rounds is one event of each stream.

    The first token of a stream does not wait. A round begins with the tokens of a step, so that few are left over, but
    none waits for that longer than the pause is.
    """

    def __init__(self) -> None:
        self._most_events = MAX_EVENTS_PER_SECOND
        self._waiting: dict[int, TokenStream] = {}
        self._pause = 0.0
        self._next = 0.0
        self._latest: asyncio.TimerHandle | None = None

    def engine_runs_on(self, device: str) -> None:
        """From now on; `device` as in `EngineReady`."""
        self._most_events = MAX_EVENTS_PER_SECOND_ON_SHARED_CORES if device == "cpu" else MAX_EVENTS_PER_SECOND

    def notify(self, streams: Iterable[TokenStream], now: float) -> None:
        """These have got tokens at `now`, in seconds of the monotonic clock."""
        waiting = self._waiting
        for stream in streams:
            if stream.num_taken:
                waiting[stream.seq_id] = stream
            else:
                stream.wake()
        if now >= self._next:
            self._begin(now)
        elif self._latest is None:
            self._latest = asyncio.get_running_loop().call_later(self._pause, self._begin, now + self._pause)

    def _begin(self, now: float) -> None:
        held, self._latest = self._latest, None
        if held is not None:
            held.cancel()
        told, self._waiting = self._waiting, {}
        is_busy = len(told) > FEW_STREAMS
        self._pause = min(len(told) / self._most_events, MAX_PAUSE_SECONDS) if is_busy else 0.0
        self._next = now + self._pause
        for stream in told.values():
            stream.merges = held is not None
            stream.wake()
