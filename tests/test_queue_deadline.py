"""A sequence that is not scheduled by its deadline ends in the next step, and no other does."""

from __future__ import annotations

from app.messages import FinishReason
from app.scheduler.scheduler import Scheduler
from tests.builders import (
    finish_reasons,
    first_preemption,
    ids,
    make_scheduler,
    queue,
    sequence,
    steps_to_end,
    take_step,
)

EXPIRED = FinishReason.QUEUE_TIMEOUT


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def crowded(clock: Clock, *deadlines: float) -> Scheduler:
    """One place, taken by sequence 0; sequences 1, 2, … wait for it until their deadlines."""
    scheduler = make_scheduler(max_num_seqs=1, clock=clock)
    queue(scheduler, sequence(0, max_tokens=20))
    take_step(scheduler)
    queue(scheduler, *(sequence(seq_id, deadline=deadline) for seq_id, deadline in enumerate(deadlines, 1)))
    return scheduler


def test_a_waiting_sequence_is_dropped_at_its_deadline_and_not_before() -> None:
    clock = Clock()
    scheduler = crowded(clock, 5.0, 6.0)
    clock.now = 4.999
    assert take_step(scheduler)[1].finished == {}
    clock.now = 5.0
    _, step = take_step(scheduler)
    assert step.finished == {1: EXPIRED}
    assert step.stats.num_waiting == 1
    assert ids(scheduler.waiting) == [2]


def test_several_overdue_sequences_are_dropped_at_once_and_the_running_one_continues() -> None:
    clock = Clock()
    scheduler = crowded(clock, 1.0, 1.0, 2.0)
    clock.now = 9.0
    _, step = take_step(scheduler)
    assert step.finished == dict.fromkeys((1, 2, 3), EXPIRED)
    assert step.seq_ids == [0]
    assert finish_reasons(step for _, step in steps_to_end(scheduler)) == {0: FinishReason.LENGTH}


def test_a_deadline_limits_being_scheduled_and_not_the_end() -> None:
    clock = Clock()
    scheduler = make_scheduler(clock=clock)
    queue(scheduler, sequence(0, deadline=1.0))
    take_step(scheduler)
    clock.now = 2.0
    assert finish_reasons(step for _, step in steps_to_end(scheduler)) == {0: FinishReason.LENGTH}


def test_a_preempted_sequence_waits_beyond_its_deadline() -> None:
    clock = Clock()
    scheduler = make_scheduler(num_blocks=8, clock=clock)
    queue(scheduler, *(sequence(seq_id, 8, max_tokens=12, deadline=1.0) for seq_id in range(2)))
    first_preemption(scheduler)
    clock.now = 2.0
    reasons = finish_reasons(step for _, step in steps_to_end(scheduler))
    assert set(reasons.values()) == {FinishReason.LENGTH}


def test_a_sequence_that_arrives_overdue_is_dropped_though_there_is_room() -> None:
    """Its engine died while it waited, and another one took its time to start."""
    clock = Clock()
    clock.now = 3.0
    scheduler = make_scheduler(clock=clock)
    queue(scheduler, sequence(0, deadline=2.0))
    batch, step = take_step(scheduler)
    assert (batch.rows, step.finished) == ([], {0: EXPIRED})
    assert not scheduler.has_work


def test_a_sequence_that_left_the_queue_before_its_deadline_is_not_dropped_again() -> None:
    clock = Clock()
    scheduler = crowded(clock, 1.0)
    scheduler.abort(1)
    clock.now = 2.0
    assert take_step(scheduler)[1].finished == {}
