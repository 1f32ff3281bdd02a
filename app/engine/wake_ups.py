"""Wake-up coalescing: readers are woken for each token while they are few, and for several at once when they are many.

Network drivers coalesce interrupts for the same reason and in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.engine.stream import TokenStream

FEW_STREAMS = 16
"""Up to this many streams, every token wakes its reader immediately."""

MAX_EVENTS_PER_SECOND = 5000
"""Wake-ups of all streams together, unless a stream would then have to wait longer than `MAX_PAUSE_SECONDS`."""

MAX_EVENTS_PER_SECOND_ON_SHARED_CORES = 2000
"""The same where the engine computes on the CPU: writing one event takes it the time of computing three tokens."""

MAX_PAUSE_SECONDS = 1 / 30
"""Longest time between two wake-ups of a stream, short enough that nobody sees the text stutter."""


class WakeUpCoalescer:
    """Wakes the readers of streams that have new tokens, at most once per pause.

    Per-event overhead dominates the cost of a streamed token, and with many streams that time is taken from the engine.
    So each stream gets one event for all tokens that arrive within a pause; the more streams, the longer the pause.

    The first token of a stream is never delayed. Wake-ups happen right after a step where possible, so that few tokens
    are left over, but no token waits for the next step longer than the pause.
    """

    def __init__(self) -> None:
        self._max_events = MAX_EVENTS_PER_SECOND
        self._waiting: dict[int, TokenStream] = {}
        self._pause = 0.0
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def engine_runs_on(self, device: str) -> None:
        """Adapt the limit to the device that the engine computes on, named as in `EngineReady.device`."""
        self._max_events = MAX_EVENTS_PER_SECOND_ON_SHARED_CORES if device == "cpu" else MAX_EVENTS_PER_SECOND

    def notify(self, streams: Iterable[TokenStream], now: float) -> None:
        """Wake the readers of streams that got tokens at `now` (seconds, monotonic clock), at once or after a pause."""
        waiting = self._waiting
        for stream in streams:
            if stream.num_taken:
                waiting[stream.seq_id] = stream
            else:
                stream.wake()
        if now >= self._next:
            self._wake_all(now)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._wake_all, now + self._pause)

    def _wake_all(self, now: float) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        woken, self._waiting = self._waiting, {}
        is_busy = len(woken) > FEW_STREAMS
        self._pause = min(len(woken) / self._max_events, MAX_PAUSE_SECONDS) if is_busy else 0.0
        self._next = now + self._pause
        for stream in woken.values():
            stream.merges = timer is not None
            stream.wake()
