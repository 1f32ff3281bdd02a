"""Broadcasts the statistics as events, which are serialised once for all subscribers and queued for none of them."""

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
"""How many deltas a subscriber may lag behind without losing any."""

RETRY_SECONDS = 5


class Broadcast:
    """Closes the collector's frames and writes a delta for each.

    `describe` returns further fields of every event, read at the moment of writing. A subscriber is no more than the
    number of the last delta that it was given. If it lags too far behind it misses deltas, which it can see from their
    numbers; a new subscriber starts with a snapshot of everything that the collector holds.
    """

    def __init__(self, collector: StatisticsCollector, describe: Callable[[], dict[str, object]]) -> None:
        self.collector = collector
        self.number = 0
        self.closed = False
        self.changed = asyncio.Event()
        self._describe = describe
        self._deltas: deque[bytes] = deque(maxlen=MAX_DELTAS_BEHIND)
        self._subscribers: set[Subscription] = set()
        self._snapshot: tuple[int, bytes] | None = None
        self._num_steps_sent = 0
        self._num_finished_sent = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FRAME_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Close a frame and wake all subscribers."""
        collector = self.collector
        collector.close_frame()
        self.number += 1
        delta = self._event(
            "delta",
            frames=_last(collector.frames, 1),
            steps=_last(collector.steps, collector.num_steps - self._num_steps_sent),
            requests=_last(collector.finished, collector.num_finished - self._num_finished_sent),
        )
        self._num_steps_sent, self._num_finished_sent = collector.num_steps, collector.num_finished
        self._deltas.append(delta)
        self._wake()

    def close(self) -> None:
        """End all subscriptions, and every later one right after its snapshot."""
        self.closed = True
        self._wake()

    def subscribe(self) -> Subscription:
        """Take one of `MAX_SUBSCRIBERS` places until the subscription is closed. Raises Overloaded if all are taken."""
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise Overloaded(f"there are already {MAX_SUBSCRIBERS} subscribers, the maximum", RETRY_SECONDS)
        subscription = Subscription(self, self._subscribers.discard)
        self._subscribers.add(subscription)
        return subscription

    def snapshot(self) -> bytes:
        """Everything that the collector holds, up to the last delta; serialised once between two deltas."""
        if self._snapshot is None or self._snapshot[0] != self.number:
            collector = self.collector
            event = self._event(
                "snapshot",
                fields={"frames": Frame._fields, "steps": Step._fields, "requests": FinishedRequest._fields},
                frames=list(collector.frames),
                steps=_without_last(collector.steps, collector.num_steps - self._num_steps_sent),
                requests=_without_last(collector.finished, collector.num_finished - self._num_finished_sent),
            )
            self._snapshot = self.number, event
        return self._snapshot[1]

    def since(self, number: int) -> bytes:
        """The deltas after the one with this number, as far as they are still kept."""
        return b"".join(_last(self._deltas, self.number - number))

    def _event(self, type: str, **content: object) -> bytes:
        collector = self.collector
        head = {
            "type": type,
            "number": self.number,
            **self._describe(),
            "waiting_for": collector.waiting_for,
            "totals": collector.totals,
            "finish_reasons": collector.finish_reasons,
            "error_causes": collector.error_causes,
        }
        return f"data: {json.dumps(head | content, allow_nan=False, separators=(',', ':'))}\n\n".encode()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Subscription:
    """The place of one subscriber. It holds no events, only the number of the last delta that it was given."""

    def __init__(self, broadcast: Broadcast, on_close: Callable[[Subscription], None]) -> None:
        self._broadcast = broadcast
        self._on_close = on_close

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield a snapshot, then deltas as they come, until the server stops."""
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
        """Free the place. May be called any number of times."""
        self._on_close(self)


def _last(kept: Collection[Item], count: int) -> list[Item]:
    return list(islice(kept, max(0, len(kept) - count), None))


def _without_last(kept: Collection[Item], count: int) -> list[Item]:
    return list(islice(kept, max(0, len(kept) - count)))
