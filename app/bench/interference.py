"""Interference: streams decode while a long prompt arrives. How long do they stall, and how long does it wait?"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from time import process_time

from app.bench.drive import Flight, Run, seconds_of, undisturbed
from app.bench.events import Backlog
from app.bench.outcome import Outcome
from app.bench.progress import Progress
from app.bench.settings import LONG_OUTPUT_TOKENS, Settings
from app.bench.target import Target
from app.bench.workload import PlannedRequest, Stage, closed_loop

SETTLED_EVENTS = 16
"""Number of events that every stream must have received before the long prompt is sent."""


class Settling:
    """Waits until each of `count` streams has received its first `num_events` events or has ended."""

    def __init__(self, count: int, num_events: int) -> None:
        self._owed = [num_events] * count
        self._unsettled = count
        self.reached = asyncio.Event()

    def text(self, index: int) -> None:
        self._owed[index] -= 1
        if self._owed[index] == 0:
            self._settle()

    def ended(self, index: int) -> None:
        if self._owed[index] > 0:
            self._owed[index] = 0
            self._settle()

    def _settle(self) -> None:
        self._unsettled -= 1
        if self._unsettled == 0:
            self.reached.set()


async def interfere(target: Target, settings: Settings, concurrency: int, seed: str, progress: Progress) -> Run:
    """Start `concurrency` streams, send the long prompt once all of them are decoding, and wait for all to end."""
    stage = closed_loop(concurrency, concurrency, settings.lengths, seed)
    tokens = settings.long_prompt(target.about.max_model_len)
    long = PlannedRequest(f"{seed}/long", tokens, LONG_OUTPUT_TOKENS, label="long")
    shown = Stage((*stage.requests, long), concurrency, concurrency)
    settling = Settling(concurrency, min(SETTLED_EVENTS, max(settings.lengths.output // 2, 1)))
    async with progress.watch(f"{target.name} interference", shown) as board:
        flight = Flight(target, board, Backlog(0))  # events must be parsed as they arrive
        messages = [target.message(planned) for planned in shown.requests]

        async def decode(index: int, planned: PlannedRequest) -> None:
            try:
                await flight.send(planned, messages[index], on_text=lambda: settling.text(index))
            finally:
                settling.ended(index)

        with undisturbed():
            cpu = process_time()
            async with asyncio.TaskGroup() as streams:
                for each in enumerate(stage.requests):
                    streams.create_task(decode(*each))
                await settling.reached.wait()
                await flight.send(long, messages[-1])
            cpu = process_time() - cpu
    *outcomes, arrived = flight.read()
    run = Run(stage, outcomes, seconds_of([*outcomes, arrived]), cpu, beside=[arrived])
    find_gaps(run, arrived)
    return run


def longest_gap(times: list[float], since: float, until: float) -> float:
    """The longest gap between consecutive events, of all gaps that overlap the time from `since` to `until`."""
    return max(
        (later - earlier for earlier, later in pairwise(times) if later > since and earlier < until), default=0.0
    )


def find_gaps(run: Run, arrived: Outcome) -> None:
    """Add to the findings how the long prompt affected the other streams, and its own latency."""
    if not arrived.ok or arrived.ttft is None:
        run.notes.append(f"the long prompt failed: {arrived.error or 'no text'}")
        return
    since, until = arrived.sent_at, arrived.sent_at + arrived.ttft
    gone = sum(not one.text_times or one.text_times[-1] < until for one in run.outcomes)
    if gone < len(run.outcomes):
        gaps = [longest_gap(one.text_times, since, until) for one in run.outcomes]
        run.findings["longest gap, ms"] = 1000 * max(gaps)
    before = [[at for at in one.text_times if at <= since] for one in run.outcomes]
    run.findings["longest gap before, ms"] = 1000 * max(longest_gap(times, 0.0, since) for times in before)
    run.findings["TTFT of the long prompt, ms"] = 1000 * arrived.ttft
    tokens = arrived.num_prompt_tokens or arrived.planned.num_prompt_tokens
    run.findings["prefill of the long prompt, tokens/s"] = tokens / arrived.ttft
    if gone:
        run.notes.append(
            f"{gone} of {len(run.outcomes)} streams had ended before the long prompt's first token: "
            "the gap may be larger; give them more --output-tokens"
        )
