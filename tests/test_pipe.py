"""Messages arrive whole and in order, however the pipe divides them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.pipe import MAX_READ_BYTES, CommandWriter, PipeReader, write_event
from app.messages import Abort, Command, EngineFailed, EngineLoading, Event, Generate, SamplingParams

events = st.builds(EngineFailed, st.text()) | st.builds(EngineLoading, st.text(), st.floats(0, 1))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The end that is read and the end that is written; the latter the test may close."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb", buffering=0) as file:
            yield reading, file.fileno()
    finally:
        os.close(reading)


def written(event: Event) -> bytes:
    with pipe() as (reading, writing):
        write_event(writing, event)
        return os.read(reading, MAX_READ_BYTES)


@given(st.lists(events, min_size=1, max_size=5), st.data())
def test_events_arrive_whole_however_the_pipe_divides_them(sent: list[Event], data: st.DataObject) -> None:
    content = b"".join(map(written, sent))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(content) - 1), max_size=8)))
    with pipe() as (reading, writing):
        reader, received = PipeReader[Event](reading), list[Event]()
        for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            os.write(writing, content[begin:end])
            received += reader.read()
    assert received == sent


def test_an_event_larger_than_the_pipe_arrives_while_it_is_written() -> None:
    event = EngineFailed("why " * MAX_READ_BYTES)
    with pipe() as (reading, writing), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(write_event, writing, event)
        reader, received = PipeReader[Event](reading), list[Event]()
        while not received:
            received += reader.read()
        sending.result()
    assert received == [event]


def test_the_end_of_the_pipe_is_an_end_of_file_even_in_the_middle_of_an_event() -> None:
    with pipe() as (reading, writing):
        os.write(writing, written(EngineFailed("why"))[:-1])
        copy = os.dup(reading)
    with os.fdopen(copy, "rb"):
        reader = PipeReader[Event](copy)
        assert list(reader.read()) == []
        with pytest.raises(EOFError):
            reader.read()


async def test_commands_that_do_not_fit_the_pipe_are_buffered_without_blocking() -> None:
    """All of them arrive once somebody reads."""
    sent = [Generate(seq_id, tuple(range(5000)), SamplingParams(max_tokens=1)) for seq_id in range(40)]
    with pipe() as (reading, writing):
        writer = CommandWriter(writing)
        for command in sent:
            writer.write(command)
        reader, received = PipeReader[Command](reading), list[Command]()
        while len(received) < len(sent):
            received += await asyncio.to_thread(lambda: list(reader.read()))
    assert received == sent


async def test_commands_for_a_closed_pipe_are_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0):
        writer = CommandWriter(writing)
        writer.write(Abort((1,)))
    writer.write(Abort((2,)))  # not to whoever has got the number of the closed file
