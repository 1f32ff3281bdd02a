"""A rate that is raised until goodput falls, and the knee that it finds."""

from __future__ import annotations

from typing import Any, cast

from app.bench.drive import Run
from app.bench.events import StreamReply
from app.bench.experiment import ramp
from app.bench.progress import Progress
from app.bench.settings import Settings
from app.bench.target import Target
from app.bench.workload import PlannedRequest
from tests.test_bench_session import Counting


class Saturating(Counting):
    """Answers so many of the first stage, so many of the second, …, and refuses the rest of each."""

    def __init__(self, *num_good: int) -> None:
        super().__init__()
        self._num_good = iter(num_good)
        self._stage, self._left = "", 0

    def message(self, planned: PlannedRequest) -> bytes:
        stage = planned.seed.rpartition("/")[0]
        if stage != self._stage:
            self._stage, self._left = stage, next(self._num_good)
        return b""

    async def send(self, message: bytes, reply: StreamReply) -> None:
        outcome = reply.outcome
        outcome.status = 200
        outcome.sent_at = outcome.finished_at = outcome.planned.at
        if self._left == 0:
            outcome.fail("full")
            return
        self._left -= 1
        outcome.text_times = [outcome.sent_at]
        outcome.finish_reason, outcome.done = "length", True


async def ramped(*num_good: int, **changes: Any) -> list[Run]:
    """Stages of 10, 20, 40, … requests in a hundredth of a second."""
    settings = Settings(workload="ramp", seed=0, rate=(1000.0,), ramp_factor=2.0, duration=0.01, **changes)
    target = cast(Target, Saturating(*num_good))
    return [run async for run in ramp(target, settings, "0", Progress(False))]


async def test_a_ramp_raises_its_rate_until_goodput_falls_and_names_the_knee() -> None:
    runs = await ramped(10, 20, 5, 80)
    assert [run.stage.load for run in runs] == [1000.0, 2000.0, 4000.0]
    assert [bool(run.findings) for run in runs] == [False, False, True]
    assert runs[-1].findings["knee, requests/s"] == 2000.0
    assert runs[-1].notes == []


async def test_a_ramp_that_never_falls_says_that_the_knee_is_higher() -> None:
    runs = await ramped(10, 20, stages=2)
    assert runs[-1].findings["knee, requests/s"] == 2000.0
    assert "the knee is higher" in runs[-1].notes[0]


async def test_a_ramp_on_which_nothing_succeeds_ends_at_once() -> None:
    runs = await ramped(0)
    assert len(runs) == 1
    assert runs[0].findings["goodput at the knee, requests/s"] == 0.0
