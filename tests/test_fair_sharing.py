"""Owners share the engine: the service each gets, who begins when places and blocks are taken, who is preempted."""

from __future__ import annotations

from collections import Counter

import pytest

from app.engine.health import Overloaded
from app.engine.queue_quota import QueueQuota
from app.scheduler.scheduler import Scheduler
from app.scheduler.waiting import MAX_TIMES_PASSED, OUTPUT_WEIGHT
from tests.builders import ids, make_core, make_scheduler, queue, run_to_end, sequence, shape, take_step, tokens_alone


def flood(scheduler: Scheduler, owner: str, count: int, first_id: int, prompt: int = 4, max_tokens: int = 8) -> None:
    queue(
        scheduler,
        *(sequence(first_id + number, prompt, max_tokens=max_tokens, owner=owner) for number in range(count)),
    )


def running_of(scheduler: Scheduler) -> Counter[str]:
    return Counter(s.owner for s in scheduler.running)


def served_after(scheduler: Scheduler, num_steps: int) -> Counter[str]:
    """Tokens that each owner was served, weighted."""
    served: Counter[str] = Counter()
    for _ in range(num_steps):
        owners = {s.seq_id: s.owner for s in (*scheduler.running, *scheduler.waiting)}
        batch, step = take_step(scheduler)
        for seq_id in step.seq_ids:
            served[owners[seq_id]] += OUTPUT_WEIGHT
        for row in batch.rows:
            served[row.sequence.owner] += 0 if row.decodes else row.num_tokens
    return served


# Who goes next


def test_without_owners_the_earlier_goes_first() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    flood(scheduler, "", 4, first_id=0)
    take_step(scheduler)
    assert ids(scheduler.running) == [0, 1]


def test_two_owners_that_flood_share_the_places_though_one_came_first() -> None:
    scheduler = make_scheduler(max_num_seqs=4)
    flood(scheduler, "early", 20, first_id=0)
    flood(scheduler, "late", 20, first_id=100)
    take_step(scheduler)
    assert running_of(scheduler) == {"early": 2, "late": 2}


def test_two_owners_that_flood_are_served_equally_though_one_asks_for_more_at_once() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_num_seqs=8)
    flood(scheduler, "long", 60, first_id=0, prompt=40, max_tokens=30)
    flood(scheduler, "short", 400, first_id=100, prompt=8, max_tokens=4)
    served = served_after(scheduler, 200)
    assert served["long"] == pytest.approx(served["short"], rel=0.1)


def test_a_smaller_priority_goes_first_regardless_of_service() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    flood(scheduler, "served", 1, first_id=0, max_tokens=1)
    take_step(scheduler)
    queue(scheduler, sequence(1, owner="new"), sequence(2, owner="served", priority=-1))
    take_step(scheduler)
    assert ids(scheduler.running) == [2]


def test_a_priority_only_orders_the_sequences_of_its_owner() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    urgent = [sequence(number, priority=-number, precedence=0, owner="loud", max_tokens=1) for number in range(1, 5)]
    queue(scheduler, *urgent, *(sequence(number, owner="calm", max_tokens=1) for number in range(10, 14)))
    began = [seq_id for _ in range(8) for seq_id in take_step(scheduler)[1].seq_ids]
    assert [seq_id for seq_id in began if seq_id < 10] == [4, 3, 2, 1]
    assert [seq_id < 10 for seq_id in began] == [True, False] * 4, "they are served in turn"


def test_between_equally_served_owners_their_own_priorities_do_not_decide() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    queue(scheduler, sequence(0, owner="calm"), sequence(1, owner="loud", priority=-9, precedence=0))
    take_step(scheduler)
    assert ids(scheduler.running) == [0]


def test_a_smaller_precedence_goes_first_regardless_of_service() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    flood(scheduler, "trusted", 1, first_id=0, max_tokens=1)
    take_step(scheduler)
    queue(scheduler, sequence(1, owner="new"), sequence(2, owner="trusted", priority=-9, precedence=-1))
    take_step(scheduler)
    assert ids(scheduler.running) == [2]


def test_an_owner_cannot_save_up_service_by_staying_away() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_num_seqs=4)
    flood(scheduler, "steady", 300, first_id=0)
    served_after(scheduler, 100)
    flood(scheduler, "back", 300, first_id=1000)
    served = served_after(scheduler, 100)
    assert served["steady"] == pytest.approx(served["back"], rel=0.1)


def test_a_newcomer_to_an_empty_queue_is_raised_to_the_owner_that_left_it_last() -> None:
    scheduler = make_scheduler(max_num_seqs=4)
    flood(scheduler, "steady", 3, first_id=0, max_tokens=30)
    served_after(scheduler, 10)
    flood(scheduler, "new", 1, first_id=10)
    assert scheduler.waiting.served("new") == scheduler.waiting.served("steady") - 1 > 0


# Who begins, and who gives way


def test_an_owner_with_nothing_running_begins_in_the_next_step_though_all_places_are_taken() -> None:
    scheduler = make_scheduler(max_num_seqs=4)
    flood(scheduler, "many", 20, first_id=0, max_tokens=20)
    for _ in range(3):
        take_step(scheduler)
    flood(scheduler, "one", 1, first_id=100)
    batch, step = take_step(scheduler)
    assert 100 in step.seq_ids
    assert len(batch.preempted) == 1
    assert ids(scheduler.running) == [0, 1, 2, 100]


def test_a_sequence_preempted_for_a_newcomer_continues_with_the_same_tokens() -> None:
    core = make_core(make_scheduler(max_num_seqs=3))
    scheduler = core.scheduler
    flood(scheduler, "many", 6, first_id=0, max_tokens=20)
    core.step()
    flood(scheduler, "one", 2, first_id=100)
    first = core.step()
    tokens = run_to_end(core)
    assert 100 in first.seq_ids
    assert tokens[5] == tokens_alone(sequence(5).token_ids, 20)
    assert tokens[2][-15:] == tokens_alone(sequence(2).token_ids, 20)[-15:]


def test_an_owner_with_something_running_waits_for_a_place() -> None:
    scheduler = make_scheduler(max_num_seqs=4)
    flood(scheduler, "many", 20, first_id=0, max_tokens=20)
    take_step(scheduler)
    flood(scheduler, "two", 2, first_id=100, max_tokens=20)
    for _ in range(5):
        take_step(scheduler)
    assert running_of(scheduler) == {"many": 3, "two": 1}


def test_an_owner_keeps_one_place() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    flood(scheduler, "a", 1, first_id=0, max_tokens=20)
    flood(scheduler, "b", 1, first_id=1, max_tokens=20)
    take_step(scheduler)
    flood(scheduler, "c", 1, first_id=2)
    assert not take_step(scheduler)[0].preempted
    assert ids(scheduler.waiting) == [2]


def test_a_more_urgent_sequence_is_not_preempted() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    queue(scheduler, *(sequence(seq_id, max_tokens=20, priority=-1, owner="urgent") for seq_id in range(2)))
    take_step(scheduler)
    flood(scheduler, "one", 1, first_id=100)
    assert not take_step(scheduler)[0].preempted


def test_an_owners_own_priorities_do_not_protect_it_but_order_its_preemptions() -> None:
    scheduler = make_scheduler(max_num_seqs=3)
    loud = {1: -7, 2: -5, 3: -9}
    queue(scheduler, *(sequence(i, max_tokens=20, priority=p, precedence=0, owner="loud") for i, p in loud.items()))
    take_step(scheduler)
    flood(scheduler, "one", 1, first_id=100)
    batch, _ = take_step(scheduler)
    assert list(batch.preempted) == [2]


def test_when_blocks_run_out_an_owners_own_priority_does_not_protect_it() -> None:
    scheduler = make_scheduler(num_blocks=14, max_num_seqs=8)
    loud = (sequence(i, 8, max_tokens=24, priority=-10 - i, precedence=0, owner="loud") for i in range(3))
    queue(scheduler, *loud, sequence(100, 8, max_tokens=24, owner="calm"))
    for _ in range(40):
        batch, _ = take_step(scheduler)
        if batch.preempted:
            break
    [given_way] = batch.preempted
    assert given_way in range(3)


def test_blocks_are_taken_for_a_newcomer_too_but_at_most_half_of_them() -> None:
    for prompt, begins in ((12, True), (44, False)):
        scheduler = make_scheduler(num_blocks=20, max_num_seqs=8)
        flood(scheduler, "many", 4, first_id=0, prompt=15, max_tokens=5)
        take_step(scheduler)
        assert scheduler.pool.num_free == 4
        flood(scheduler, "one", 1, first_id=100, prompt=prompt)
        assert (100 in take_step(scheduler)[1].seq_ids) is begins


def test_when_blocks_run_out_the_owner_that_runs_most_is_preempted() -> None:
    scheduler = make_scheduler(num_blocks=14, max_num_seqs=8)
    flood(scheduler, "many", 3, first_id=0, prompt=8, max_tokens=24)
    flood(scheduler, "one", 1, first_id=100, prompt=8, max_tokens=24)
    for _ in range(40):
        batch, _ = take_step(scheduler)
        if batch.preempted:
            break
    assert ids(scheduler.waiting) == [2], "the youngest of the three, not the youngest of all"


def test_a_prompt_begins_before_the_long_one_of_an_owner_that_was_served_more_continues() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_num_batched_tokens=16)
    flood(scheduler, "long", 1, first_id=0, prompt=200)
    take_step(scheduler)
    queue(scheduler, sequence(1, 8, owner="long"), sequence(2, 8, owner="short"))
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(2, 0, 8), (0, 16, 24)]


def test_without_owners_a_prompt_waits_for_the_long_one_before_it() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_num_batched_tokens=16)
    flood(scheduler, "", 1, first_id=0, prompt=200)
    take_step(scheduler)
    queue(scheduler, sequence(1, 8), sequence(2, 8))
    assert shape(take_step(scheduler)[0]) == [(0, 16, 32)]


def test_a_large_sequence_is_not_starved_by_another_owner_that_sends_one_at_a_time() -> None:
    scheduler = make_scheduler(num_blocks=20)
    flood(scheduler, "small", 1, first_id=1, prompt=4, max_tokens=2)
    take_step(scheduler)
    flood(scheduler, "large", 1, first_id=0, prompt=78, max_tokens=2)
    for seq_id in range(2, 4 * MAX_TIMES_PASSED):
        flood(scheduler, "small", 1, first_id=seq_id, prompt=4, max_tokens=2)
        if 0 in take_step(scheduler)[1].seq_ids:
            return
    raise AssertionError("the large one never began")


# The queue


def fill(quota: QueueQuota, owner: str) -> int:
    """Open as many as the owner may; how many that is."""
    for count in range(10_000):
        try:
            quota.check(owner)
        except Overloaded:
            return count
        quota.opened(hash((owner, count)), owner)
    raise AssertionError("there is no limit")


def test_one_owner_leaves_room_for_others_and_they_for_more() -> None:
    quota = QueueQuota(1088)
    first, second, third = (fill(quota, owner) for owner in "abc")
    assert first == 1088 * 8 // 9
    assert second > third > 0
    assert first + second + third < 1088


def test_the_anonymous_owner_may_use_the_whole_queue() -> None:
    assert fill(QueueQuota(10), "") == 10


@pytest.mark.parametrize("limit", range(1, 12))
def test_an_owner_with_nothing_open_finds_a_place_even_in_a_small_queue(limit: int) -> None:
    quota = QueueQuota(limit)
    assert 1 <= fill(quota, "a") <= max(1, limit - 1)
    assert (fill(quota, "b") > 0) is (limit > 1)


@pytest.mark.parametrize("limit", [1, 2, 9, 20])
@pytest.mark.parametrize("owner", ["", "a"])
def test_several_may_be_opened_together_if_they_may_one_after_another(limit: int, owner: str) -> None:
    most = fill(QueueQuota(limit), owner)
    QueueQuota(limit).check(owner, most)
    with pytest.raises(Overloaded):
        QueueQuota(limit).check(owner, most + 1)


def test_what_ends_makes_room_again() -> None:
    quota = QueueQuota(3)
    assert fill(quota, "a") == 2
    quota.ended(hash(("a", 0)))
    assert fill(quota, "a") == 1
