"""Collects what the dashboard shows, in bounded memory whatever the load and the uptime."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from app.engine.stream import EndReason, TokenStream
from app.messages import EngineReady, FinishReason, StepOutput, StepStats, WaitReason
from app.statistics.durations import SlidingDurations
from app.statistics.rows import FinishedRequest, Frame, Step

FRAME_SECONDS = 0.5
MAX_FRAMES = 600
"""Five minutes."""

WINDOW_FRAMES = 20
"""Percentiles are over the last ten seconds."""

MAX_STEPS = 240
MAX_FINISHED = 500
MAX_CAUSES = 50
PERCENTILES = (0.5, 0.9, 0.99)

_COUNTED = Frame._fields[Frame._fields.index("steps") : Frame._fields.index("ttft_p50")]


class StatisticsCollector:
    """An `EngineObserver` that keeps recent history and totals. `close_frame` must be called every `FRAME_SECONDS`.

    `frames`, `steps` and `finished` hold the most recent items, oldest first. `num_steps` and `num_finished` count all
    items there have been, so that a reader knows how many are new since it last looked.
    """

    def __init__(
        self, model: str, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._model = model
        self.frames: deque[Frame] = deque(maxlen=MAX_FRAMES)
        self.steps: deque[Step] = deque(maxlen=MAX_STEPS)
        self.finished: deque[FinishedRequest] = deque(maxlen=MAX_FINISHED)
        self.num_steps = 0
        self.num_finished = 0
        self.totals: Counter[str] = Counter()
        self.finish_reasons: Counter[EndReason] = Counter()
        self.error_causes: Counter[str] = Counter()
        self.latest: StepStats | None = None
        self._clock = clock
        self._wall = wall
        self._frame_began = clock()
        self._before: Counter[str] = Counter()
        self._first_tokens, self._gaps, self._wholes = (SlidingDurations(WINDOW_FRAMES) for _ in range(3))
        self._load = _Load(clock())
        self._begun: dict[int, float] = {}

    @property
    def waiting_for(self) -> dict[WaitReason, int]:
        return self.latest.waiting_for if self.latest else {}

    def close_frame(self) -> None:
        """Add a frame for the time since the last one, and begin the next."""
        now = self._clock()
        new, latest = self.totals - self._before, self.latest
        self.frames.append(
            Frame(
                round(self._wall(), 3),
                round(now - self._frame_began, 3),
                latest.num_running if latest else 0,
                latest.num_waiting if latest else 0,
                latest.num_blocks - latest.num_free_blocks if latest else 0,
                latest.num_shared_blocks if latest else 0,
                latest.num_cached_blocks if latest else 0,
                *(new[name] for name in _COUNTED),
                *self._first_tokens.percentiles(PERCENTILES),
                *self._gaps.percentiles(PERCENTILES),
                *self._wholes.percentiles(PERCENTILES),
            )
        )
        self._frame_began, self._before = now, self.totals.copy()
        for durations in (self._first_tokens, self._gaps, self._wholes):
            durations.turn()

    def failed(self, cause: str) -> None:
        """Count an error response or event by its code."""
        known = cause in self.error_causes or len(self.error_causes) < MAX_CAUSES
        self.error_causes[cause if known else "other"] += 1

    def step_taken(self, output: StepOutput) -> None:
        stats, totals = output.stats, self.totals
        self.latest = stats
        self._load.change(self._clock(), stats.num_running)
        totals["output_tokens"] += len(output.token_ids)
        totals["preempted"] += stats.num_preempted
        totals["recomputed"] += stats.num_recomputed
        totals["prefix_queried"] += stats.num_prefix_queried
        totals["prefix_hits"] += stats.num_prefix_hits
        totals["drafted"] += stats.num_draft_tokens
        totals["accepted"] += sum(stats.num_accepted_per_position)
        if stats.num_prefill_tokens or stats.num_decode_tokens:
            totals["steps"] += 1
            totals["prefill_tokens"] += stats.num_prefill_tokens
            totals["decode_tokens"] += stats.num_decode_tokens
            seconds = stats.schedule_seconds + stats.execute_seconds + stats.update_seconds
            step = Step(round(self._wall(), 4), stats.num_prefill_tokens, stats.num_decode_tokens, round(seconds, 6))
            self.steps.append(step)
            self.num_steps += 1

    def sequence_scheduled(self, stream: TokenStream) -> None:
        self.totals["prompt_tokens"] += stream.num_prompt_tokens

    def first_token(self, stream: TokenStream) -> None:
        times = stream.times
        if times.first_token is not None:
            self._first_tokens.observe(times.first_token - times.arrived)
            self._begun[stream.seq_id] = self._load.area(times.first_token)

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:  # noqa: ARG002
        self._gaps.observe(seconds, count)

    def sequence_finished(self, stream: TokenStream) -> None:
        reason = stream.finish_reason or FinishReason.ABORT
        self.finish_reasons[reason] += 1
        self.num_finished += 1
        row = self._finished_request(stream, reason)
        self.finished.append(row)
        if reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._wholes.observe(row.total)

    def engine_ready(self, ready: EngineReady) -> None:
        """Nothing of it is collected."""

    def engine_restarted(self) -> None:
        """Forget the latest step: a new engine has nothing running and nothing in its cache."""
        self.totals["restarts"] += 1
        self.latest = None
        self._load.change(self._clock(), 0)

    def sequence_recovered(self) -> None:
        self.totals["recovered"] += 1

    def _finished_request(self, stream: TokenStream, reason: EndReason) -> FinishedRequest:
        times = stream.times
        finished = self._clock() if times.finished is None else times.finished
        return FinishedRequest(
            number=self.num_finished,
            time=round(self._wall(), 3),
            prompt_tokens=stream.num_prompt_tokens,
            cached_tokens=stream.num_cached_tokens,
            output_tokens=stream.num_output_tokens,
            queue=_between(times.arrived, times.scheduled),
            ttft=_between(times.arrived, times.first_token),
            itl=_mean_gap(stream),
            total=round(finished - times.arrived, 6),
            reason=reason,
            concurrency=self._concurrency(stream),
            model=self._model,
        )

    def _concurrency(self, stream: TokenStream) -> float | None:
        begun, times = self._begun.pop(stream.seq_id, None), stream.times
        if begun is None or times.first_token is None or times.last_token is None or not _mean_gap(stream):
            return None
        elapsed = times.last_token - times.first_token
        return round(max(1.0, (self._load.area(times.last_token) - begun) / elapsed), 2)


class _Load:
    """The integral over time of the number of running sequences: a difference of two areas, divided by the time between
    them, is the mean concurrency.
    """

    def __init__(self, now: float) -> None:
        self._changed = now
        self._area = 0.0
        self._num_running = 0

    def change(self, now: float, num_running: int) -> None:
        self._area, self._changed, self._num_running = self.area(now), now, num_running

    def area(self, now: float) -> float:
        return self._area + self._num_running * (now - self._changed)


def _between(earlier: float, later: float | None) -> float | None:
    return None if later is None else round(later - earlier, 6)


def _mean_gap(stream: TokenStream) -> float | None:
    times = stream.times
    if stream.num_output_tokens < 2 or times.first_token is None or times.last_token is None:
        return None
    return round((times.last_token - times.first_token) / (stream.num_output_tokens - 1), 6)
