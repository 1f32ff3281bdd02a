"""The statistics as events, written once for all who watch, and kept for none of them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from itertools import islice
from typing import TypeVar

from app.engine.health import Overloaded
from app.statistics.collector import FRAME_SECONDS, StatisticsCollector
from app.statistics.rows import FinishedRequest, Frame, Step

Item = TypeVar("Item")

MAX_SUBSCRIBERS = 64
MAX_DELTAS_BEHIND = 8
"""Deltas that a subscriber may lag without losing any."""

RETRY_SECONDS = 5


class Broadcast:
    """Closes the recorder's frames and writes a delta for each. `describe` gives what is not recorded but asked.

    A subscriber is no more than the number of the last delta it was given. One that lags loses the deltas that are no
    longer kept, which the numbers tell it; a new one begins with a snapshot of all that the recorder holds.
    """

    def __init__(self, recorder: StatisticsCollector, describe: Callable[[], dict[str, object]]) -> None:
        self.recorder = recorder
        self.number = 0
        self.closed = False
        self.changed = asyncio.Event()
        self._describe = describe
        self._deltas: deque[bytes] = deque(maxlen=MAX_DELTAS_BEHIND)
        self._subscribers: set[Subscription] = set()
        self._snapshot: tuple[int, bytes] | None = None
        self._num_steps_told = 0
        self._num_finished_told = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FRAME_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Close a frame and tell everybody."""
        recorder = self.recorder
        recorder.close_frame()
        self.number += 1
        delta = self._event(
            "delta",
            frames=_last(recorder.frames, 1),
            steps=_last(recorder.steps, recorder.num_steps - self._num_steps_told),
            requests=_last(recorder.finished, recorder.num_finished - self._num_finished_told),
        )
        self._num_steps_told, self._num_finished_told = recorder.num_steps, recorder.num_finished
        self._deltas.append(delta)
        self._wake()

    def close(self) -> None:
        """End every subscription, now and from now on."""
        self.closed = True
        self._wake()

    def subscribe(self) -> Subscription:
        """Raises Overloaded when there are enough. The subscription holds a place until it is closed."""
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise Overloaded(f"{MAX_SUBSCRIBERS} others are watching already", RETRY_SECONDS)
        subscription = Subscription(self, self._subscribers.discard)
        self._subscribers.add(subscription)
        return subscription

    def snapshot(self) -> bytes:
        """Everything that is kept, up to the last delta. Whoever asks for it before the next one gets the same."""
        if self._snapshot is None or self._snapshot[0] != self.number:
            recorder = self.recorder
            event = self._event(
                "snapshot",
                fields={"frames": Frame._fields, "steps": Step._fields, "requests": FinishedRequest._fields},
                frames=list(recorder.frames),
                steps=_without_last(recorder.steps, recorder.num_steps - self._num_steps_told),
                requests=_without_last(recorder.finished, recorder.num_finished - self._num_finished_told),
            )
            self._snapshot = self.number, event
        return self._snapshot[1]

    def since(self, number: int) -> bytes:
        """The deltas after this one, as far as they are kept."""
        return b"".join(_last(self._deltas, self.number - number))

    def _event(self, type: str, **content: object) -> bytes:
        recorder = self.recorder
        head = {
            "type": type,
            "number": self.number,
            **self._describe(),
            "waiting_for": recorder.waiting_for,
            "totals": recorder.totals,
            "finish_reasons": recorder.finish_reasons,
            "error_causes": recorder.error_causes,
        }
        return f"data: {json.dumps(head | content, allow_nan=False, separators=(',', ':'))}\n\n".encode()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Subscription:
    """One reader's place. It holds no events, only the number of the last delta it was given."""

    def __init__(self, broadcast: Broadcast, on_close: Callable[[Subscription], None]) -> None:
        self._broadcast = broadcast
        self._on_close = on_close

    async def events(self) -> AsyncGenerator[bytes]:
        """A snapshot, then deltas as they come, until the server stops."""
        broadcast = self._broadcast
        number = broadcast.number
        yield broadcast.snapshot()
        while not broadcast.closed:
            if number == broadcast.number:
                await broadcast.changed.wait()
            else:
                events, number = broadcast.since(number), broadcast.number
                yield events

    def close(self) -> None:
        """Give the place back. May be called any number of times."""
        self._on_close(self)


def _last(kept: Collection[Item], count: int) -> list[Item]:
    return list(islice(kept, max(0, len(kept) - count), None))


def _without_last(kept: Collection[Item], count: int) -> list[Item]:
    return list(islice(kept, max(0, len(kept) - count)))
