"""Sending a stage's requests at their times, and reading what comes back, all in one thread."""

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
    """One stage on one server. `seconds` go from the first sending to the last end; `client_cpu` are CPU seconds.

    `beside` are requests that belong to the load, but not to the latencies that are reported. `findings` are what
    this workload was made to find, by name, and `notes` what a reader must know of them.
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
    """Requests on their way to one server."""

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
        """Send one request until its answer ends. `due` is the monotonic time at which it should have been sent."""
        outcome = Outcome(planned, lateness=0.0 if due is None else max(monotonic() - due, 0.0))
        reply = StreamReply(outcome, self.backlog, on_text)
        self.replies.append(reply)
        self.board.begin(reply)
        try:
            await self.target.send(message, reply)
        finally:
            self.board.end(reply)

    def read(self) -> list[Outcome]:
        """Read what came back, in the order of sending: for when no clock runs any more."""
        for reply in self.replies:
            reply.read()
        return [reply.outcome for reply in self.replies]


async def drive(stage: Stage, target: Target, progress: Progress) -> Run:
    """Run one stage. It ends when every request has."""
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
    """From the first sending to the last thing that came; for failures, what came before they failed."""
    if not outcomes:
        return 0.0
    ends = [outcome.finished_at or (outcome.text_times or [outcome.sent_at])[-1] for outcome in outcomes]
    return max(ends) - min(outcome.sent_at for outcome in outcomes)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection of ours may look like a gap of the server's."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _messages(stage: Stage, target: Target) -> Iterator[tuple[PlannedRequest, bytes]]:
    """What to send, in its order. What a closed loop begins with is made by this call, the rest as it is taken."""
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
    """Each message is made before its time, so that writing a long prompt delays nothing but itself."""
    start = monotonic()
    async with asyncio.TaskGroup() as sent:
        for planned, message in messages:
            due = start + planned.at
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            sent.create_task(flight.send(planned, message, due))
