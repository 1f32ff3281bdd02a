"""When readers are told: at once where they are few, in one wake-up for many tokens where they are many."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.stream import TokenStream
from app.engine.wake_ups import FEW_STREAMS, MAX_EVENTS_PER_SECOND, MAX_PAUSE_SECONDS, WakeUpCoalescer
from app.messages import FinishReason

MANY_STREAMS = 4 * FEW_STREAMS
PAUSE = MANY_STREAMS / MAX_EVENTS_PER_SECOND


class Reader:
    """Takes all available tokens whenever it is woken; `events` has the number of tokens in each event."""

    def __init__(self, seq_id: int) -> None:
        self.events: list[int] = []
        self.was_woken = asyncio.Event()
        self.stream = TokenStream(seq_id, 5, 0.0, lambda _: None)
        self.stream.wake = self._take

    def _take(self) -> None:
        self.events += [len(delta.token_ids) for delta in self.stream.take()]
        self.was_woken.set()


def readers(count: int) -> list[Reader]:
    return [Reader(seq_id) for seq_id in range(count)]


def step(coalescer: WakeUpCoalescer, all_readers: list[Reader], now: float, num_tokens: int = 1) -> None:
    streams = [reader.stream for reader in all_readers for _ in range(num_tokens)]
    for stream in streams:
        stream.push(7, None, now)
    coalescer.notify(streams, now)


def events(all_readers: list[Reader]) -> list[int]:
    """Those of each, which all have the same."""
    [same] = {tuple(reader.events) for reader in all_readers}
    return list(same)


async def test_few_streams_get_an_event_for_every_token_however_fast_tokens_arrive() -> None:
    coalescer, few = WakeUpCoalescer(), readers(FEW_STREAMS)
    for number in range(5):
        step(coalescer, few, now=number * 1e-6)
    assert events(few) == [1] * 5


async def test_many_streams_get_an_event_for_every_token_if_tokens_arrive_slower_than_the_pause() -> None:
    coalescer, many = WakeUpCoalescer(), readers(MANY_STREAMS)
    for number in range(5):
        step(coalescer, many, now=number * PAUSE * 1.01)
    assert events(many) == [1] * 5


async def test_many_streams_get_one_event_for_all_tokens_between_two_wake_ups() -> None:
    coalescer, many = WakeUpCoalescer(), readers(MANY_STREAMS)
    for number in range(6):
        step(coalescer, many, now=10.0 + number * PAUSE * 0.51)
    assert events(many) == [1, 1, 2, 2]  # the first is no part of a round


async def test_there_are_fewer_wake_ups_if_the_engine_computes_on_the_cpu() -> None:
    for device, expected in (("cuda:0", [1, 1, 1, 1, 1]), ("cpu", [1, 1, 3])):
        coalescer, many = WakeUpCoalescer(), readers(MANY_STREAMS)
        coalescer.engine_runs_on(device)
        for number in range(5):
            step(coalescer, many, now=10.0 + number * PAUSE * 1.01)
        assert events(many) == expected


async def test_tokens_of_one_step_are_separate_events_unless_they_were_delayed() -> None:
    coalescer, many = WakeUpCoalescer(), readers(MANY_STREAMS)
    step(coalescer, many, now=0.0)
    step(coalescer, many, now=1.0, num_tokens=3)
    assert events(many) == [1, 1, 1, 1]
    step(coalescer, many, now=1.0 + PAUSE / 2, num_tokens=3)
    step(coalescer, many, now=1.0 + PAUSE, num_tokens=3)
    assert events(many) == [1, 1, 1, 1, 6]


async def test_the_first_token_and_the_end_do_not_wait() -> None:
    coalescer, many, late = WakeUpCoalescer(), readers(MANY_STREAMS), Reader(MANY_STREAMS)
    step(coalescer, many, now=0.0)
    step(coalescer, many, now=1.0)
    step(coalescer, [*many, late], now=1.0)
    assert (events(many), late.events) == ([1, 1], [1])
    many[0].stream.end(FinishReason.LENGTH)
    many[0].stream.wake()
    assert many[0].events == [1, 1, 1]


async def test_waiting_readers_are_woken_in_time_even_if_no_step_follows() -> None:
    coalescer, many = WakeUpCoalescer(), readers(MANY_STREAMS)
    step(coalescer, many, now=0.0)
    step(coalescer, many, now=1.0)
    many[0].was_woken.clear()
    step(coalescer, many, now=1.0)
    assert events(many) == [1, 1]
    await asyncio.wait_for(many[0].was_woken.wait(), 30)
    assert events(many) == [1, 1, 1]


@pytest.mark.parametrize("num_streams", [FEW_STREAMS + 1, 10_000])
async def test_no_pause_is_long_enough_to_be_seen(num_streams: int) -> None:
    coalescer, many = WakeUpCoalescer(), readers(num_streams)
    for number in range(4):
        step(coalescer, many, now=number * MAX_PAUSE_SECONDS * 1.01)
    assert events(many) == [1] * 4
