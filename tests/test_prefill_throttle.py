"""The prefill throttle: a step computes all the prompt tokens it can, or what fits the time while sequences decode."""

from __future__ import annotations

from itertools import repeat

from app.scheduler.prefill_throttle import MIN_PREFILL_TOKENS, PrefillThrottle
from tests.builders import make_core, make_scheduler, sequence


def throttle_after(max_seconds: float, *steps: tuple[int, float]) -> PrefillThrottle:
    throttle = PrefillThrottle(max_seconds)
    for num_tokens, seconds in steps:
        throttle.observe(num_tokens, seconds)
    return throttle


def test_nothing_is_throttled_before_a_step_has_been_observed() -> None:
    assert throttle_after(0.1).limit(512, num_decoding=3) == 512


def test_nothing_is_throttled_while_no_sequence_decodes() -> None:
    assert throttle_after(0.1, (512, 10.0)).limit(512, num_decoding=0) == 512


def test_a_step_that_decoding_sequences_wait_for_is_limited_to_what_fits_the_time() -> None:
    assert throttle_after(0.1, (1000, 1.0)).limit(512, num_decoding=1) == 100


def test_a_fast_machine_uses_the_whole_budget() -> None:
    assert throttle_after(0.1, (1000, 0.01)).limit(512, num_decoding=1) == 512


def test_on_a_slow_machine_prompts_still_get_their_minimum_beside_the_decoding() -> None:
    assert throttle_after(0.1, (10, 10.0)).limit(512, num_decoding=5) == 5 + MIN_PREFILL_TOKENS


def test_the_budget_is_never_exceeded() -> None:
    assert throttle_after(0.1, (10, 10.0)).limit(48, num_decoding=5) == 48


def test_the_limit_adapts_within_some_steps_when_the_machine_slows_down() -> None:
    fast = (500, 0.05)
    slow = (500, 0.5)
    limits = [throttle_after(0.1, fast, fast, fast, *repeat(slow, count)).limit(1000, 1) for count in range(12)]
    assert limits[0] == 1000
    assert limits == sorted(limits, reverse=True)
    assert 100 <= limits[-1] <= 105


def test_a_small_step_hardly_changes_the_limit() -> None:
    assert throttle_after(0.1, (500, 0.5), (2, 0.05)).limit(512, 1) > 80


def test_a_long_prompt_is_computed_in_chunks_as_soon_as_another_sequence_decodes() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_num_batched_tokens=400, max_gap_seconds=0.1)
    core = make_core(scheduler)
    scheduler.add(sequence(1, 300, max_tokens=50))
    batch = scheduler.schedule()
    assert batch.num_prefill_tokens == 300
    scheduler.observe(batch, seconds=0.3)
    scheduler.update(batch, core.runner.execute(batch))
    scheduler.add(sequence(2, 300, max_tokens=1))
    pieces = []
    while len(scheduler.running) == 2 or scheduler.waiting:
        batch = scheduler.schedule()
        pieces.append((batch.num_decode_tokens, batch.num_prefill_tokens))
        scheduler.observe(batch, seconds=sum(pieces[-1]) / 1000)
        scheduler.update(batch, core.runner.execute(batch))
    assert pieces == [(1, 99), (1, 99), (1, 99), (1, 3)]
