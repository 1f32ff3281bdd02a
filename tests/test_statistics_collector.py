"""The dashboard's statistics match what happened, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.stream import TokenStream
from app.messages import FinishReason, StepOutput, StepStats, WaitReason
from app.statistics.collector import (
    MAX_CAUSES,
    MAX_FINISHED,
    MAX_FRAMES,
    MAX_STEPS,
    WINDOW_FRAMES,
    StatisticsCollector,
)
from app.statistics.durations import GROWTH, MIN_SECONDS, SlidingDurations

STATS = StepStats(
    num_running=2,
    num_waiting=1,
    num_free_blocks=6,
    num_blocks=10,
    num_prefill_tokens=7,
    num_decode_tokens=2,
    num_prefix_queried=10,
    num_prefix_hits=4,
    num_preempted=1,
    num_shared_blocks=1,
    num_cached_blocks=3,
    num_recomputed=5,
    waiting_for={WaitReason.BLOCKS: 1},
)


class Clock:
    """A clock that only moves when a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_collector() -> tuple[StatisticsCollector, Clock]:
    clock = Clock()
    return StatisticsCollector("tiny", clock, clock), clock


def step(**changes: Any) -> StepOutput:
    return StepOutput([1, 2], [7, 7], {}, replace(STATS, **changes))


def decoded(collector: StatisticsCollector, clock: Clock, seq_id: int, num_tokens: int) -> TokenStream:
    """A sequence that arrives now, waits a second, and then has a token every second; it is not over yet."""
    stream = TokenStream(seq_id, 5, clock.now, lambda _: None)
    clock.now += 1.0
    stream.times.scheduled = clock.now
    collector.sequence_scheduled(stream)
    for _ in range(num_tokens):
        clock.now += 1.0
        stream.push(7, None, clock.now)
        if stream.num_output_tokens == 1:
            collector.first_token(stream)
    return stream


def test_a_frame_has_what_happened_since_the_last_one_and_the_current_state() -> None:
    collector, clock = make_collector()
    collector.step_taken(step())
    collector.step_taken(step())
    clock.now += 0.5
    collector.close_frame()
    collector.step_taken(step(num_running=1, num_free_blocks=10, num_cached_blocks=6, num_shared_blocks=0))
    clock.now += 0.25
    collector.close_frame()
    first, second = collector.frames
    assert (first.time, first.seconds, second.seconds) == (100.5, 0.5, 0.25)
    assert (first.running, first.waiting, first.used, first.shared, first.cached) == (2, 1, 4, 1, 3)
    assert (second.running, second.used, second.shared, second.cached) == (1, 0, 0, 6)
    counted = [(f.steps, f.prefill_tokens, f.decode_tokens, f.output_tokens, f.preempted) for f in collector.frames]
    assert counted == [(2, 14, 4, 4, 2), (1, 7, 2, 2, 1)]
    assert (first.prefix_queried, first.prefix_hits) == (20, 8)
    assert collector.totals["recomputed"] == 15
    assert collector.waiting_for == {WaitReason.BLOCKS: 1}


def test_a_step_that_computed_nothing_is_not_among_the_steps() -> None:
    collector, _ = make_collector()
    collector.step_taken(step())
    collector.step_taken(step(num_prefill_tokens=0, num_decode_tokens=0, num_running=0))
    assert [(s.prefill_tokens, s.decode_tokens) for s in collector.steps] == [(7, 2)]
    collector.close_frame()
    assert collector.frames[-1].running == 0


def test_a_finished_request_is_a_row_of_numbers() -> None:
    collector, clock = make_collector()
    stream = decoded(collector, clock, 1, 4)
    stream.num_cached_tokens = 3
    stream.times.finished = clock.now
    stream.end(FinishReason.STOP)
    stream.wake()
    collector.sequence_finished(stream)
    [row] = collector.finished
    assert (row.number, row.prompt_tokens, row.cached_tokens, row.output_tokens) == (1, 5, 3, 4)
    assert (row.queue, row.ttft, row.itl, row.total, row.reason) == (1.0, 2.0, 1.0, 5.0, FinishReason.STOP)


def test_concurrency_is_the_mean_number_of_running_sequences_while_it_decoded() -> None:
    collector, clock = make_collector()
    collector.step_taken(step(num_running=4))
    stream = decoded(collector, clock, 1, 2)
    collector.step_taken(step(num_running=1))
    clock.now += 1.0
    stream.push(7, None, clock.now)
    stream.times.finished = clock.now
    stream.end(FinishReason.LENGTH)
    stream.wake()
    collector.sequence_finished(stream)
    assert collector.finished[-1].concurrency == pytest.approx((4 + 1) / 2)


def test_a_request_aborted_while_waiting_has_no_times_and_is_not_in_percentiles() -> None:
    collector, clock = make_collector()
    stream = TokenStream(1, 5, clock.now, lambda _: None)
    clock.now += 2.0
    stream.close()
    stream.times.finished = clock.now
    collector.sequence_finished(stream)
    row = collector.finished[-1]
    assert (row.queue, row.ttft, row.itl, row.total, row.concurrency) == (None, None, None, 2.0, None)
    collector.close_frame()
    assert collector.frames[-1].e2e_p50 is None
    assert collector.finish_reasons == {FinishReason.ABORT: 1}


def test_percentiles_only_cover_the_window() -> None:
    collector, _ = make_collector()
    example = TokenStream(1, 5, 100.0, lambda _: None)
    collector.token_gap(0.01, 90, example)
    collector.token_gap(1.0, 10, example)
    for _ in range(WINDOW_FRAMES):
        collector.close_frame()
    last = collector.frames[-1]
    assert last.itl_p50 == last.itl_p90 == pytest.approx(0.01, rel=0.03)
    assert last.itl_p99 == pytest.approx(1.0, rel=0.03)
    collector.close_frame()
    assert collector.frames[-1].itl_p50 is None


def test_a_new_engine_has_nothing_running() -> None:
    collector, _ = make_collector()
    collector.step_taken(step())
    collector.engine_restarted()
    collector.close_frame()
    frame = collector.frames[-1]
    assert (frame.running, frame.waiting, frame.used, frame.cached) == (0, 0, 0, 0)
    assert collector.waiting_for == {}
    assert collector.totals["restarts"] == 1


def test_memory_is_bounded_whatever_happens() -> None:
    collector, clock = make_collector()
    for number in range(MAX_FRAMES + 100):
        stream = decoded(collector, clock, number, 2)
        stream.close()
        collector.sequence_finished(stream)
        collector.step_taken(step())
        collector.failed(f"cause {number}")
        collector.close_frame()
    assert (len(collector.frames), len(collector.steps), len(collector.finished)) == (
        MAX_FRAMES,
        MAX_STEPS,
        MAX_FINISHED,
    )
    assert collector.num_finished == collector.num_steps == MAX_FRAMES + 100
    assert len(collector.error_causes) == MAX_CAUSES + 1
    assert collector.error_causes["other"] == MAX_FRAMES + 100 - MAX_CAUSES
    assert collector._begun == {}


durations = st.lists(st.tuples(st.floats(MIN_SECONDS, 1e4), st.integers(1, 50)), min_size=1, max_size=30)


@given(durations, st.floats(0.01, 1.0))
def test_a_percentile_is_as_accurate_as_the_buckets_are_wide(observed: list[tuple[float, int]], share: float) -> None:
    sliding = SlidingDurations(3)
    for seconds, count in observed:
        sliding.observe(seconds, count)
    every = sorted(seconds for seconds, count in observed for _ in range(count))
    exact = next(value for rank, value in enumerate(every, 1) if rank >= share * len(every))
    [found] = sliding.percentiles([share])
    assert found is not None
    assert exact / GROWTH <= found <= exact * GROWTH


def test_percentiles_of_nothing_are_none() -> None:
    assert SlidingDurations(2).percentiles([0.5, 0.99]) == [None, None]
