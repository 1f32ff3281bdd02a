"""The statistics of a step match a recount (`builders.check_blocks` recounts the pool after every step)."""

from __future__ import annotations

import random

from app.messages import StepStats, WaitReason
from app.scheduler.scheduler import Scheduler
from tests.builders import make_scheduler, prompt_of, queue, sequence, steps_to_end, take_step


def blocks(stats: StepStats) -> tuple[int, int, int]:
    """In use, shared, and free but findable."""
    return stats.num_blocks - stats.num_free_blocks, stats.num_shared_blocks, stats.num_cached_blocks


def test_blocks_of_a_common_prefix_are_shared_while_two_hold_them_and_cached_afterwards() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, prompt_of(7, 9), max_tokens=2), sequence(1, prompt_of(7, 9), max_tokens=3))
    seen = [blocks(step.stats) for _, step in steps_to_end(scheduler)]
    assert seen == [(4, 2, 0), (3, 0, 0), (0, 0, 2)]


def test_a_sequence_returning_from_preemption_recomputes_what_is_not_cached() -> None:
    scheduler = make_scheduler(num_blocks=6)
    queue(scheduler, *(sequence(seq_id, 5, max_tokens=15) for seq_id in range(4)))
    steps = [step.stats for _, step in steps_to_end(scheduler)]
    assert sum(stats.num_preempted for stats in steps) > 0
    computed = sum(stats.num_prefill_tokens + stats.num_decode_tokens for stats in steps)
    computed_undisturbed = 4 * (5 + 15 - 1)
    assert sum(stats.num_recomputed for stats in steps) == computed - computed_undisturbed > 0


def test_a_preempted_sequence_is_reported_with_the_tokens_it_lost() -> None:
    scheduler = make_scheduler(num_blocks=6)
    queue(scheduler, *(sequence(seq_id, 5, max_tokens=15) for seq_id in range(4)))
    lost = 0
    for batch, step in steps_to_end(scheduler):
        assert step.preempted == tuple(batch.preempted)
        assert len(step.preempted) == step.stats.num_preempted
        assert step.stats.num_lost == sum(batch.preempted.values())
        assert all(num_tokens >= 5 for num_tokens in batch.preempted.values())
        lost += step.stats.num_lost
    assert lost > 0


def waits(scheduler: Scheduler) -> dict[WaitReason, int]:
    return take_step(scheduler)[1].stats.waiting_for


def test_without_waiting_sequences_there_are_no_wait_reasons() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 5))
    assert waits(scheduler) == {}


def test_sequences_wait_for_a_place_for_the_budget_or_for_blocks() -> None:
    many = [sequence(seq_id, 9, max_tokens=4) for seq_id in range(4)]
    full = make_scheduler(max_num_seqs=1)
    queue(full, *many)
    assert waits(full) == {WaitReason.MAX_NUM_SEQS: 3}

    slow = make_scheduler(max_num_batched_tokens=12)
    queue(slow, *(sequence(seq_id, 9, max_tokens=4) for seq_id in range(4)))
    assert waits(slow) == {WaitReason.BUDGET: 2}

    small = make_scheduler(num_blocks=6)
    queue(small, *(sequence(seq_id, 9, max_tokens=4) for seq_id in range(4)))
    assert waits(small) == {WaitReason.BLOCKS: 3}


def test_sequences_passed_over_wait_for_blocks_and_those_behind_for_what_they_lack() -> None:
    scheduler = make_scheduler(num_blocks=8, max_num_seqs=2)
    queue(scheduler, sequence(0, 9, max_tokens=4), sequence(1, 28, max_tokens=4))
    queue(scheduler, sequence(2, 5, max_tokens=4), sequence(3, 5, max_tokens=4))
    assert waits(scheduler) == {WaitReason.BLOCKS: 1, WaitReason.MAX_NUM_SEQS: 1}


def test_the_counts_by_reason_add_up_at_every_step_of_a_random_workload() -> None:
    rng = random.Random(0)
    scheduler = make_scheduler(num_blocks=24, max_num_seqs=5, max_num_batched_tokens=16)
    seen: set[WaitReason] = set()
    for seq_id in range(300):
        if rng.random() < 0.6:
            tail = rng.randrange(1, 20)
            queue(scheduler, sequence(seq_id, prompt_of(rng.randrange(3), 8) + prompt_of(seq_id, tail), max_tokens=9))
        if rng.random() < 0.1:
            scheduler.abort(rng.randrange(seq_id + 1))
        stats = take_step(scheduler)[1].stats
        assert sum(stats.waiting_for.values()) == stats.num_waiting == len(scheduler.waiting)
        assert 0 not in stats.waiting_for.values()
        seen.update(stats.waiting_for)
    assert seen == set(WaitReason)
