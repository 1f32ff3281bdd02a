"""Sends the requests of a stage at their times and reads the replies, all in one thread."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from time import monotonic, process_time

from app.bench.events import Backlog, StreamReply
from app.bench.outcome import Outcome
from app.bench.progress import Board, Progress
from app.bench.target import Target
from app.bench.workload import PlannedRequest, Stage


@dataclass(slots=True)
class Run:
    """The results of one stage on one server.

    `seconds` is the time from sending the first request to the end of the last one; `client_cpu` is the client's CPU
    time in seconds. `beside` are requests that are part of the load, but not of the latencies reported. `findings` are
    the numbers that this workload is designed to find, by name, and `notes` what a reader must know about them.
    """

    stage: Stage
    outcomes: list[Outcome]
    seconds: float
    client_cpu: float = 0.0
    beside: list[Outcome] = field(default_factory=list)
    findings: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Flight:
    """The requests in flight to one server."""

    target: Target
    board: Board
    backlog: Backlog = field(default_factory=Backlog)
    replies: list[StreamReply] = field(default_factory=list)

    async def send(
        self,
        planned: PlannedRequest,
        message: bytes,
        due: float | None = None,
        on_text: Callable[[], None] | None = None,
    ) -> None:
        """Send a request and wait until its response ends. `due` is when it should be sent (monotonic seconds)."""
        outcome = Outcome(planned, lateness=0.0 if due is None else max(monotonic() - due, 0.0))
        reply = StreamReply(outcome, self.backlog, on_text)
        self.replies.append(reply)
        self.board.begin(reply)
        try:
            await self.target.send(message, reply)
        finally:
            self.board.end(reply)

    def read(self) -> list[Outcome]:
        """Parse the replies, in the order of sending; to be called when nothing is being timed any more."""
        for reply in self.replies:
            reply.read()
        return [reply.outcome for reply in self.replies]


async def drive(stage: Stage, target: Target, progress: Progress) -> Run:
    """Run one stage, until all of its requests have ended."""
    async with progress.watch(f"{target.name} {stage.load_text}", stage) as board:
        flight = Flight(target, board)
        messages = _messages(stage, target)
        with undisturbed():
            cpu = process_time()
            if stage.concurrency is None:
                await _open_loop(messages, flight)
            else:
                await _closed_loop(messages, flight, stage.concurrency)
            cpu = process_time() - cpu
        outcomes = flight.read()
    return Run(stage, outcomes, seconds_of(outcomes), cpu)


def seconds_of(outcomes: list[Outcome]) -> float:
    """Seconds from sending the first request to the last event received, including those before a failure."""
    if not outcomes:
        return 0.0
    ends = [outcome.finished_at or (outcome.text_times or [outcome.sent_at])[-1] for outcome in outcomes]
    return max(ends) - min(outcome.sent_at for outcome in outcomes)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Suspend the garbage collector, so that its pauses are not mistaken for gaps of the server."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _messages(stage: Stage, target: Target) -> Iterator[tuple[PlannedRequest, bytes]]:
    """The messages to send, in order. Those that a closed loop starts with are built now, the others when needed."""
    ordered = sorted(stage.requests, key=lambda planned: planned.at)
    made = ((planned, target.message(planned)) for planned in ordered)
    return chain(list(islice(made, stage.concurrency or 0)), made)


async def _closed_loop(messages: Iterator[tuple[PlannedRequest, bytes]], flight: Flight, concurrency: int) -> None:
    async def lane() -> None:
        for planned, message in messages:
            await flight.send(planned, message)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(concurrency):
            lanes.create_task(lane())


async def _open_loop(messages: Iterator[tuple[PlannedRequest, bytes]], flight: Flight) -> None:
    """Each message is built before it is due, so that writing a long prompt delays no other request."""
    start = monotonic()
    async with asyncio.TaskGroup() as sent:
        for planned, message in messages:
            due = start + planned.at
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            sent.create_task(flight.send(planned, message, due))
