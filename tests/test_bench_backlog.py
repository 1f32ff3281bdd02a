"""Replies are parsed after the timed part with the same results, and the backlog is bounded."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, cast

import pytest

from app.bench.client import Client
from app.bench.dialect import Dialect
from app.bench.drive import Run, drive
from app.bench.events import Backlog, StreamReply
from app.bench.outcome import Outcome
from app.bench.progress import Board, Progress
from app.bench.prompts import TokenIdPrompts
from app.bench.target import ServerAbout, Target
from app.bench.workload import Lengths, closed_loop
from tests.test_bench_client import EVENT_STREAM, WHOLE, Canned, asked_for, chunked, events, read
from tests.test_bench_session import Counting

USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
BROKEN = [events(WHOLE)[0], b"data: {oops\n\n", *events(WHOLE)[1:]]


def reported(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if name != "planned"}


def reply_with(*contents: bytes, backlog: Backlog, status: int = 200) -> StreamReply:
    reply = StreamReply(asked_for(), backlog)
    reply.begin(status, {"content-type": "text/event-stream"})
    for at, content in enumerate(contents):
        reply.feed(content, float(at))
    return reply


# Reading afterwards


@pytest.mark.parametrize("room", [1, 100, 250, 10_000])
@pytest.mark.parametrize("size", [1, 7, 90, 1000])
@pytest.mark.parametrize("whole", [events(WHOLE, USAGE), BROKEN, events(WHOLE[:1], {"error": "no"}), events(WHOLE[:2])])
def test_parsing_afterwards_gives_the_same_as_parsing_on_arrival(whole: list[bytes], size: int, room: int) -> None:
    stream = b": ping\n\n".join(whole)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert reported(read(*pieces, room=room)) == reported(read(*pieces))


def test_nothing_is_parsed_early_and_the_times_are_those_of_arrival() -> None:
    reply = reply_with(*events(WHOLE), backlog=Backlog())
    assert (reply.outcome.text_times, reply.outcome.done) == ([], False)
    reply.read()
    assert (reply.outcome.text_times, reply.outcome.finished_at, reply.outcome.done) == ([0.0, 1.0], 2.0, True)


def test_a_full_backlog_stops_growing_and_releases_its_room() -> None:
    backlog = Backlog(300)
    first, second = (reply_with(*events(WHOLE[:1] * 20, done=False), backlog=backlog) for _ in range(2))
    assert backlog.room >= 0
    assert len(second.outcome.text_times) == 20, "the first holds all the room there is"
    assert 0 < len(first.outcome.text_times) < 20
    for reply in (first, second):
        reply.read()
    assert (len(first.outcome.text_times), backlog.room) == (20, 300)


def test_the_first_error_is_reported_though_it_is_read_last() -> None:
    reply = reply_with(*BROKEN, backlog=Backlog())
    reply.broken = "the connection was closed before the end"
    reply.read()
    assert reply.outcome.error == "an event is not a JSON object: {oops"


# Live progress


def test_live_progress_counts_events_whether_they_have_been_read_or_not() -> None:
    board = Board()
    for room in (0, 10_000):
        board.begin(reply_with(*events(WHOLE[:2], done=False), backlog=Backlog(room)))
    assert board.tokens == 4


def test_live_progress_counts_failures_that_show_without_reading() -> None:
    board = Board()
    refused, cut, whole = (reply_with(backlog=Backlog(), status=status) for status in (429, 200, 200))
    cut.broken = "timeout after 600 s"
    for reply in (refused, cut, whole):
        board.begin(reply)
        board.end(reply)
    assert (board.num_ended, board.num_failed, board.live) == (3, 2, set())


# Whole stages


async def driven(*answers: bytes) -> Run:
    """Run a stage with one stream after another, and give each of them the next of these answers."""
    left = iter(answers)
    async with Canned(lambda *_: next(left)).listening() as url:
        client = Client(url)
        about = ServerAbout(url, None, None, None, None)
        target = Target("A", client, about, Dialect(), TokenIdPrompts(100, 200))
        run = await drive(closed_loop(1, len(answers), Lengths(2, 2), "0"), target, Progress(False))
        client.close()
    return run


async def test_an_invalid_event_fails_its_own_stream_and_no_other() -> None:
    good, broken = (EVENT_STREAM + chunked(*content) for content in (events(WHOLE), BROKEN))
    run = await driven(good, broken, good)
    assert [one.error for one in run.outcomes] == [None, "an event is not a JSON object: {oops", None]
    assert [len(one.text_times) for one in run.outcomes] == [2, 2, 2]
    assert run.seconds > 0


class Noting(Counting):
    """Notes how many messages had been made when each was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.num_made = 0
        self.made_before: list[int] = []

    def message(self, planned: Any) -> bytes:
        self.num_made += 1
        return super().message(planned)

    async def send(self, message: bytes, reply: StreamReply) -> None:
        self.made_before.append(self.num_made)
        await asyncio.sleep(0)


async def test_the_first_requests_of_a_stage_are_built_in_advance_and_the_others_when_needed() -> None:
    server = Noting()
    await drive(closed_loop(3, 6, Lengths(1, 1), "0"), cast(Target, server), Progress(False))
    assert server.made_before == [3, 3, 3, 4, 5, 6]
