"""Each rule of the scheduler in the smallest world where it shows. Blocks hold 4 tokens unless a test says more."""

from __future__ import annotations

import pytest

from app.messages import FinishReason, TokenLogprobs
from app.scheduler.batch import NO_TOKEN, ModelOutput
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import SequenceStatus
from app.scheduler.waiting import MAX_LOOKAHEAD, MAX_TIMES_PASSED
from tests.builders import (
    check_blocks,
    finish_reasons,
    first_preemption,
    ids,
    make_core,
    make_scheduler,
    prompt_of,
    queue,
    run_to_end,
    sequence,
    shape,
    steps_to_end,
    take_step,
    tokens_alone,
    tokens_of,
)


def make_tight_scheduler(*, taken: int, num_blocks: int, max_num_seqs: int = 100) -> Scheduler:
    """A pool of which a sequence that is far from its end already holds `taken` blocks."""
    scheduler = make_scheduler(num_blocks=num_blocks, max_num_seqs=max_num_seqs, max_num_batched_tokens=10_000)
    scheduler.add(sequence(9999, 4 * taken - 3, max_tokens=4))
    take_step(scheduler)
    return scheduler


# The budget


def test_a_prompt_that_fits_the_budget_is_computed_whole_and_gives_a_token() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=10)
    scheduler.add(sequence(0, 10))
    batch, step = take_step(scheduler)
    assert shape(batch) == [(0, 0, 10)]
    assert step.seq_ids == [0]
    assert step.token_ids == tokens_alone(prompt_of(0, 10), 1)


def test_a_prompt_longer_than_the_budget_is_computed_in_chunks_and_gives_no_token_before_its_end() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=4)
    scheduler.add(sequence(0, 10))
    steps = [take_step(scheduler) for _ in range(4)]
    assert [shape(batch) for batch, _ in steps] == [[(0, 0, 4)], [(0, 4, 8)], [(0, 8, 10)], [(0, 10, 11)]]
    assert [len(step.token_ids) for _, step in steps] == [0, 0, 1, 1]


def test_a_long_prompt_does_not_starve_a_decode() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=8)
    scheduler.add(sequence(0, 3, max_tokens=6))
    take_step(scheduler)
    scheduler.add(sequence(1, 30))
    batches = [take_step(scheduler)[0] for _ in range(4)]
    assert [shape(batch)[0] for batch in batches] == [(0, 3, 4), (0, 4, 5), (0, 5, 6), (0, 6, 7)]
    assert [shape(batch)[1] for batch in batches] == [(1, 0, 7), (1, 7, 14), (1, 14, 21), (1, 21, 28)]


def test_decodes_take_the_budget_before_an_older_prompt_does() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=4, max_num_seqs=4)
    urgent_but_long = sequence(9, 40, priority=-1)
    queue(scheduler, sequence(0, 1, max_tokens=9), sequence(1, 1, max_tokens=9))
    take_step(scheduler)
    scheduler.add(urgent_but_long)
    for start in (0, 2, 4):
        batch, _ = take_step(scheduler)
        assert [row.sequence.seq_id for row in batch.rows] == [0, 1, 9]
        assert shape(batch)[2] == (9, start, start + 2)


def test_of_two_running_prompts_the_older_takes_the_budget_first() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=12)
    queue(scheduler, sequence(0, 8), sequence(1, 40))
    take_step(scheduler)
    scheduler.add(sequence(2, 40, priority=-1))
    scheduler.max_num_batched_tokens = 50
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(0, 8, 9), (2, 0, 13), (1, 4, 40)]
    scheduler.max_num_batched_tokens = 10
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(0, 9, 10), (1, 40, 41), (2, 13, 21)]


def test_no_step_computes_more_tokens_than_the_budget() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=5, max_num_seqs=5)
    queue(scheduler, *(sequence(seq_id, 1 + seq_id, max_tokens=3) for seq_id in range(8)))
    for batch, _ in steps_to_end(scheduler):
        assert 0 < sum(row.num_tokens for row in batch.rows) <= 5


def test_what_the_budget_leaves_over_starts_the_next_prompt() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=10)
    queue(scheduler, sequence(0, 6), sequence(1, 8), sequence(2, 8))
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(1, 0, 4), (0, 0, 6)]
    assert ids(scheduler.waiting) == [2]


# The order of rows


def test_rows_of_one_token_come_first_and_the_shortest_context_first() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=100)
    queue(scheduler, sequence(0, 9), sequence(1, 5), sequence(2, 7))
    take_step(scheduler)
    queue(scheduler, sequence(3, 12), sequence(4, 1), sequence(5, 6))
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(4, 0, 1), (1, 5, 6), (2, 7, 8), (0, 9, 10), (5, 0, 6), (3, 0, 12)]


def test_tokens_reach_the_sequences_whose_rows_sampled_them() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=9)
    queue(scheduler, sequence(0, 5), sequence(1, 1), sequence(2, 20))
    batch = scheduler.schedule()
    assert shape(batch) == [(1, 0, 1), (2, 0, 3), (0, 0, 5)]
    step = scheduler.update(batch, ModelOutput([11, 10]))
    assert dict(zip(step.seq_ids, step.token_ids, strict=True)) == {1: 11, 0: 10}


# Admission


def test_waiting_sequences_start_in_order_of_arrival() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    queue(scheduler, sequence(5), sequence(3), sequence(4))
    take_step(scheduler)
    assert ids(scheduler.running) == [5, 3]
    assert ids(scheduler.waiting) == [4]


def test_a_smaller_priority_starts_before_an_earlier_arrival() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    queue(scheduler, sequence(0, priority=1), sequence(1), sequence(2, priority=-1), sequence(3))
    assert ids(scheduler.waiting) == [2, 1, 3, 0]
    take_step(scheduler)
    assert ids(scheduler.running) == [2, 1]


def test_a_running_sequence_is_not_preempted_for_a_more_urgent_one() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    scheduler.add(sequence(0, priority=5))
    take_step(scheduler)
    scheduler.add(sequence(1, priority=-5))
    take_step(scheduler)
    assert ids(scheduler.running) == [0]


def test_no_more_than_max_num_seqs_run_at_once() -> None:
    scheduler = make_scheduler(max_num_seqs=3)
    queue(scheduler, *(sequence(seq_id, max_tokens=2) for seq_id in range(7)))
    most = 0
    for batch, _ in steps_to_end(scheduler):
        most = max(most, len(batch.rows))
        assert len(scheduler.running) <= 3
    assert most == 3


def test_a_sequence_starts_as_soon_as_another_has_ended() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    queue(scheduler, sequence(0, max_tokens=1), sequence(1))
    take_step(scheduler)
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(1, 0, 4)]


def test_admission_leaves_each_running_sequence_a_block_to_grow_into() -> None:
    scheduler = make_tight_scheduler(taken=4, num_blocks=10)
    scheduler.add(sequence(0, 4 * 6, max_tokens=1))
    take_step(scheduler)
    assert ids(scheduler.waiting) == [0]

    scheduler = make_tight_scheduler(taken=4, num_blocks=10)
    scheduler.add(sequence(0, 4 * 5, max_tokens=1))
    take_step(scheduler)
    assert ids(scheduler.waiting) == []


def test_a_sequence_that_fills_the_whole_pool_runs_alone() -> None:
    scheduler = make_scheduler(num_blocks=3)
    scheduler.add(sequence(0, 9, max_tokens=3))
    assert run_to_end(make_core(scheduler)) == {0: tokens_alone(prompt_of(0, 9), 3)}


def test_a_sequence_that_cannot_fit_alone_is_refused_and_leaves_no_trace() -> None:
    scheduler = make_scheduler(num_blocks=3)
    with pytest.raises(ValueError, match=r"13 tokens need 4 blocks, the cache has 3"):
        scheduler.add(sequence(0, 9, max_tokens=4))
    assert not scheduler.has_work
    assert ids(scheduler.waiting) == []


# Passing a sequence that does not fit


def test_a_smaller_sequence_passes_one_that_does_not_fit() -> None:
    scheduler = make_tight_scheduler(taken=4, num_blocks=10)
    queue(scheduler, sequence(0, 4 * 8), sequence(1, 4))
    take_step(scheduler)
    assert ids(scheduler.running) == [9999, 1]
    assert ids(scheduler.waiting) == [0]


def test_a_passed_sequence_starts_as_soon_as_there_is_room() -> None:
    scheduler = make_tight_scheduler(taken=4, num_blocks=10)
    queue(scheduler, sequence(0, 4 * 7), sequence(1, 2))
    take_step(scheduler)
    assert ids(scheduler.waiting) == [0]
    scheduler.abort(9999)
    scheduler.add(sequence(2, 2))
    take_step(scheduler)
    assert ids(scheduler.running) == [1, 0]
    assert ids(scheduler.waiting) == [2]


def pass_one(scheduler: Scheduler, seq_id: int) -> bool:
    """Offer a small sequence that ends at once; whether it was let past."""
    small = sequence(seq_id, 2, max_tokens=1)
    scheduler.add(small)
    batch, _ = take_step(scheduler)
    return any(row.sequence is small for row in batch.rows)


def test_a_sequence_that_does_not_fit_is_passed_over_a_limited_number_of_times() -> None:
    scheduler = make_scheduler(num_blocks=200, max_num_batched_tokens=1000)
    scheduler.add(sequence(9999, 4 * 40, max_tokens=4 * 60))
    take_step(scheduler)
    large = sequence(0, 4 * 180)
    scheduler.add(large)
    assert [pass_one(scheduler, seq_id) for seq_id in range(1, MAX_TIMES_PASSED + 1)] == [True] * MAX_TIMES_PASSED
    assert not pass_one(scheduler, MAX_TIMES_PASSED + 1)
    assert not pass_one(scheduler, MAX_TIMES_PASSED + 2)
    scheduler.abort(9999)
    batch, _ = take_step(scheduler)
    assert ids(scheduler.running)[0] == 0
    assert [row.sequence.seq_id for row in batch.rows] == [MAX_TIMES_PASSED + 1, MAX_TIMES_PASSED + 2, 0]


def test_a_sequence_is_not_passed_over_more_often_even_within_one_step() -> None:
    scheduler = make_tight_scheduler(taken=50, num_blocks=400, max_num_seqs=400)
    scheduler.add(sequence(0, 4 * 390))
    queue(scheduler, *(sequence(seq_id, 1) for seq_id in range(1, MAX_TIMES_PASSED + 20)))
    take_step(scheduler)
    assert len(scheduler.running) == 1 + MAX_TIMES_PASSED


def test_one_step_passes_over_a_limited_number_of_sequences() -> None:
    for too_large, found in ((MAX_LOOKAHEAD, True), (MAX_LOOKAHEAD + 1, False)):
        scheduler = make_tight_scheduler(taken=4, num_blocks=10)
        queue(scheduler, *(sequence(seq_id, 4 * 8) for seq_id in range(too_large)), sequence(100, 1))
        take_step(scheduler)
        assert (100 in ids(scheduler.running)) is found, f"{too_large} that do not fit"


def test_a_sequence_that_fits_is_not_delayed_by_having_been_passed_over() -> None:
    scheduler = make_tight_scheduler(taken=4, num_blocks=10)
    veteran = sequence(0, 4)
    veteran.times_passed = MAX_TIMES_PASSED
    queue(scheduler, veteran, sequence(1, 4))
    take_step(scheduler)
    assert ids(scheduler.running) == [9999, 0, 1]


# Preemption


def test_when_blocks_run_out_the_last_in_order_is_preempted() -> None:
    scheduler = make_scheduler(num_blocks=4)
    queue(scheduler, sequence(0, 4, max_tokens=9), sequence(1, 4, max_tokens=9), sequence(2, 3, max_tokens=9))
    for _ in range(5):
        _, step = take_step(scheduler)
        assert step.stats.num_preempted == 0
        assert ids(scheduler.running) == [0, 1]
    batch, step = take_step(scheduler)
    assert step.stats.num_preempted == 1
    assert [row.sequence.seq_id for row in batch.rows] == [0]
    assert ids(scheduler.waiting) == [1, 2], "it waits at its place, before the later one"


def test_priority_decides_who_is_preempted_before_arrival_does() -> None:
    scheduler = make_scheduler(num_blocks=4)
    queue(scheduler, sequence(0, 4, max_tokens=9, priority=1))
    take_step(scheduler)
    scheduler.add(sequence(1, 4, max_tokens=9))
    take_step(scheduler)
    assert ids(scheduler.running) == [0, 1]
    first_preemption(scheduler)
    assert ids(scheduler.running) == [1]
    assert ids(scheduler.waiting) == [0]


def test_the_one_that_needs_a_block_is_itself_preempted_if_it_is_last() -> None:
    scheduler = make_scheduler(num_blocks=8)
    queue(scheduler, *(sequence(seq_id, 8, max_tokens=9) for seq_id in range(3)))
    take_step(scheduler)
    assert scheduler.pool.num_free == 2
    batch, step = take_step(scheduler)
    assert shape(batch) == [(0, 8, 9), (1, 8, 9)]
    assert step.stats.num_preempted == 1
    assert ids(scheduler.waiting) == [2]


def test_a_preempted_sequence_gets_the_tokens_it_would_have_had_undisturbed() -> None:
    scheduler = make_scheduler(num_blocks=6)
    queue(scheduler, *(sequence(seq_id, 5, max_tokens=15) for seq_id in range(4)))
    steps = [step for _, step in steps_to_end(scheduler)]
    assert sum(step.stats.num_preempted for step in steps) > 0
    assert tokens_of(steps) == {seq_id: tokens_alone(prompt_of(seq_id, 5), 15) for seq_id in range(4)}


def test_a_preempted_sequence_finds_its_full_blocks_in_the_cache_again() -> None:
    scheduler = make_scheduler(num_blocks=6)
    queue(scheduler, sequence(0, 4, max_tokens=8), sequence(1, 9, max_tokens=8))
    first_preemption(scheduler)
    assert ids(scheduler.waiting) == [1]
    scheduler.abort(0)
    batch, step = take_step(scheduler)
    [(seq_id, start, _)] = shape(batch)
    assert seq_id == 1
    assert start >= 8
    assert step.admitted == {}, "it was admitted before, and its cached tokens were reported then"
    assert step.stats.num_prefix_queried == step.stats.num_prefix_hits == 0


# The prefix cache


def test_a_prompt_seen_before_is_computed_only_from_its_first_new_block() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 10), max_tokens=1))
    take_step(scheduler)
    scheduler.add(sequence(1, [*prompt_of(7, 10), 5, 6], max_tokens=1))
    batch, step = take_step(scheduler)
    assert shape(batch) == [(1, 8, 12)]
    assert step.admitted == {1: 8}
    assert (step.stats.num_prefix_queried, step.stats.num_prefix_hits) == (12, 8)


def test_output_tokens_are_cached_as_well() -> None:
    scheduler = make_scheduler()
    core = make_core(scheduler)
    scheduler.add(sequence(0, prompt_of(7, 6), max_tokens=7))
    output = run_to_end(core)[0]
    scheduler.add(sequence(1, [*prompt_of(7, 6), *output, 1], max_tokens=1))
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(1, 12, 14)], "the last output token was never computed: 12 of 13 are there"


@pytest.mark.parametrize(("num_tokens", "num_cached"), [(8, 4), (9, 8), (4, 0), (5, 4), (3, 0)])
def test_at_least_one_token_is_computed_because_its_logits_are_needed(num_tokens: int, num_cached: int) -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 12), max_tokens=1))
    take_step(scheduler)
    scheduler.add(sequence(1, prompt_of(7, num_tokens)))
    batch, step = take_step(scheduler)
    assert shape(batch) == [(1, num_cached, num_tokens)]
    assert step.admitted == {1: num_cached}


def test_equal_prompts_in_one_step_share_their_blocks() -> None:
    scheduler = make_scheduler(num_blocks=8)
    twins = [sequence(seq_id, prompt_of(7, 9)) for seq_id in range(3)]
    queue(scheduler, *twins)
    batch = scheduler.schedule()
    check_blocks(scheduler)
    assert shape(batch) == [(1, 8, 9), (2, 8, 9), (0, 0, 9)]
    assert batch.admission.admitted == {0: 0, 1: 8, 2: 8}
    assert twins[0].block_table[:2] == twins[1].block_table[:2] == twins[2].block_table[:2]
    assert len({twin.block_table[2] for twin in twins}) == 3
    assert scheduler.pool.num_free == 8 - 5


def test_a_chunk_shares_only_the_blocks_it_has_filled() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=7)
    queue(scheduler, sequence(0, prompt_of(7, 12)))
    take_step(scheduler)
    scheduler.max_num_batched_tokens = 6
    scheduler.add(sequence(1, prompt_of(7, 12)))
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(1, 8, 9), (0, 7, 12)], "the second block is filled in this step, the third is the last"


def test_blocks_of_a_sequence_that_still_runs_are_shared() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 8), max_tokens=9))
    take_step(scheduler)
    scheduler.add(sequence(1, [*prompt_of(7, 8), 1], max_tokens=9))
    batch, _ = take_step(scheduler)
    assert (1, 8, 9) in shape(batch)
    scheduler.abort(0)
    check_blocks(scheduler)
    take_step(scheduler)


def test_sequences_under_different_salts_share_nothing() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 9), cache_salt="ours"))
    take_step(scheduler)
    queue(scheduler, sequence(1, prompt_of(7, 9), cache_salt="theirs"), sequence(2, prompt_of(7, 9)))
    scheduler.add(sequence(3, prompt_of(7, 9), cache_salt="ours"))
    _, step = take_step(scheduler)
    assert step.admitted == {1: 0, 2: 0, 3: 8}


def test_a_sequence_that_wants_prompt_logprobs_computes_its_whole_prompt() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 9), max_tokens=1))
    take_step(scheduler)
    scheduler.add(sequence(1, prompt_of(7, 9), max_tokens=1, prompt_logprobs=0))
    batch, step = take_step(scheduler)
    assert shape(batch) == [(1, 0, 9)]
    assert step.admitted == {1: 0}


def test_what_a_sequence_with_prompt_logprobs_computed_is_found_by_others() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, prompt_of(7, 9), max_tokens=1, prompt_logprobs=0))
    take_step(scheduler)
    scheduler.add(sequence(1, prompt_of(7, 9), max_tokens=1))
    assert take_step(scheduler)[1].admitted == {1: 8}


def test_a_prefix_is_evicted_when_its_blocks_are_needed() -> None:
    scheduler = make_scheduler(num_blocks=4)
    scheduler.add(sequence(0, prompt_of(7, 9), max_tokens=1))
    take_step(scheduler)
    scheduler.add(sequence(1, 15, max_tokens=1))
    take_step(scheduler)
    scheduler.add(sequence(2, prompt_of(7, 9), max_tokens=1))
    assert take_step(scheduler)[1].admitted == {2: 0}


def test_a_prefix_that_was_found_is_not_overwritten_by_newly_allocated_blocks() -> None:
    """Its blocks are those that would be reused next."""
    scheduler = make_scheduler(num_blocks=4)
    for seq_id in (0, 1):
        scheduler.add(sequence(seq_id, 8, max_tokens=1))
        take_step(scheduler)
    again = sequence(2, [*prompt_of(0, 8), *range(5)], max_tokens=2)
    scheduler.add(again)
    batch, _ = take_step(scheduler)
    assert shape(batch) == [(2, 8, 13)]
    assert len(set(again.block_table)) == 4


def test_cached_blocks_make_room_for_a_sequence_that_would_not_fit_without() -> None:
    scheduler = make_scheduler(num_blocks=6)
    scheduler.add(sequence(0, prompt_of(7, 13), max_tokens=4))
    take_step(scheduler)
    scheduler.add(sequence(1, prompt_of(7, 13), max_tokens=1))
    take_step(scheduler)
    assert ids(scheduler.waiting) == []


# Ends


def test_a_sequence_ends_at_its_length_and_frees_its_blocks() -> None:
    scheduler = make_scheduler()
    only = sequence(0, 4, max_tokens=2)
    scheduler.add(only)
    steps = [take_step(scheduler)[1] for _ in range(2)]
    assert finish_reasons(steps[:1]) == {}
    assert finish_reasons(steps) == {0: FinishReason.LENGTH}
    assert only.status is SequenceStatus.FINISHED
    assert steps[1].stats.num_free_blocks == 100
    assert not scheduler.has_work


def test_a_stop_token_ends_a_sequence_and_is_reported() -> None:
    prompt = prompt_of(0, 4)
    undisturbed = tokens_alone(prompt, 9)
    stop = undisturbed[3]
    assert stop not in undisturbed[:3]
    scheduler = make_scheduler()
    ended = sequence(0, 4, max_tokens=9, stop_token_ids=[stop])
    scheduler.add(ended)
    assert run_to_end(make_core(scheduler)) == {0: undisturbed[:4]}
    assert ended.finish_reason is FinishReason.STOP


def test_a_sequence_without_a_token_ends_with_an_error_and_its_neighbours_continue() -> None:
    scheduler = make_scheduler()
    broken, neighbour = sequence(0, 3, max_tokens=3), sequence(1, 4, max_tokens=3)
    queue(scheduler, broken, neighbour)
    step = scheduler.update(scheduler.schedule(), ModelOutput([NO_TOKEN, 8]))
    check_blocks(scheduler)
    assert (step.seq_ids, step.token_ids) == ([1], [8])
    assert step.finished == {0: FinishReason.ERROR}
    assert broken.finish_reason is FinishReason.ERROR
    assert broken.num_tokens == broken.num_prompt_tokens
    assert ids(scheduler.running) == [1]


def test_blocks_of_a_sequence_that_failed_are_not_found_by_others() -> None:
    """Its blocks may hold what is no number. One that a running sequence holds too is judged by how that one ends."""
    scheduler = make_scheduler(block_size=4)
    stem = range(100, 104)
    broken, neighbour = sequence(0, [*stem, *range(8)]), sequence(1, [*stem, *range(50, 60)])
    queue(scheduler, broken, neighbour)
    scheduler.update(scheduler.schedule(), ModelOutput([NO_TOKEN, 8]))
    check_blocks(scheduler)
    queue(scheduler, sequence(2, [*stem, *range(8)]))
    batch = scheduler.schedule()
    assert shape(batch) == [(1, 14, 15), (2, 4, 12)]
    scheduler.update(batch, ModelOutput([NO_TOKEN, NO_TOKEN]))
    check_blocks(scheduler)
    assert not scheduler.running
    assert scheduler.pool.num_cached == 0


def test_logprobs_belong_to_the_rows_of_the_step_even_when_a_sequence_got_no_token() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 3), sequence(1, 4), sequence(2, 5))
    eight, nine = TokenLogprobs(8, -0.5), TokenLogprobs(9, -0.25)
    batch = scheduler.schedule()
    step = scheduler.update(batch, ModelOutput([NO_TOKEN, 8, 9], {0: TokenLogprobs(0, 0.0), 1: eight, 2: nine}))
    assert step.seq_ids == [1, 2]
    assert step.logprobs == {0: eight, 1: nine}


def test_logprobs_of_a_step_are_passed_on() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 3, prompt_logprobs=0), sequence(1, 4))
    report = TokenLogprobs(8, -0.5)
    step = scheduler.update(scheduler.schedule(), ModelOutput([7, 8], {1: report}, {0: [report]}))
    assert step.logprobs == {1: report}
    assert step.prompt_logprobs == {0: [report]}


def test_a_prompt_token_is_reported_once_though_its_sequence_is_preempted() -> None:
    scheduler = make_scheduler(num_blocks=5, max_num_batched_tokens=3, max_num_seqs=3)
    queue(scheduler, sequence(0, 4, max_tokens=12), sequence(1, 7, max_tokens=8, prompt_logprobs=0))
    reported: list[int] = []
    num_preempted = 0
    for _ in range(100):
        batch = scheduler.schedule()
        reported += [p for row in batch.rows for p in row.prompt_logprob_positions if row.sequence.seq_id == 1]
        num_preempted += len(batch.preempted)
        scheduler.update(batch, ModelOutput([1 for row in batch.rows if row.num_samples]))
    assert not scheduler.has_work
    assert num_preempted > 0
    assert reported == [0, 1, 2, 3, 4, 5]


# Aborts


def test_aborting_a_running_sequence_frees_its_blocks_at_once() -> None:
    scheduler = make_scheduler()
    gone, stays = sequence(0, 9), sequence(1, 9)
    queue(scheduler, gone, stays)
    take_step(scheduler)
    scheduler.abort(0)
    check_blocks(scheduler)
    assert scheduler.pool.num_free == 100 - 3
    assert gone.finish_reason is FinishReason.ABORT
    assert len(gone.block_table) == 0
    assert run_to_end(make_core(scheduler)) == {1: tokens_alone(prompt_of(1, 9), 4)[1:]}


def test_aborting_a_waiting_sequence_takes_it_out_of_the_queue() -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    queue(scheduler, sequence(0), sequence(1), sequence(2))
    take_step(scheduler)
    scheduler.abort(1)
    check_blocks(scheduler)
    assert ids(scheduler.waiting) == [2]
    assert sorted(run_to_end(make_core(scheduler))) == [0, 2]


def test_aborting_a_preempted_sequence_takes_it_out_of_the_queue() -> None:
    scheduler = make_scheduler(num_blocks=4)
    queue(scheduler, sequence(0, 4, max_tokens=9), sequence(1, 4, max_tokens=9))
    first_preemption(scheduler)
    scheduler.abort(1)
    check_blocks(scheduler)
    assert ids(scheduler.waiting) == []
    assert sorted(run_to_end(make_core(scheduler))) == [0]


def test_aborting_half_a_prompt_frees_all_its_blocks() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=5)
    scheduler.add(sequence(0, 20))
    take_step(scheduler)
    assert scheduler.pool.num_free == 95
    scheduler.abort(0)
    assert scheduler.pool.num_free == 100
    assert not scheduler.has_work


def test_aborting_one_of_two_that_share_leaves_the_blocks_to_the_other() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, prompt_of(7, 9)), sequence(1, prompt_of(7, 9)))
    take_step(scheduler)
    scheduler.abort(0)
    check_blocks(scheduler)
    assert scheduler.pool.num_free == 97
    assert run_to_end(make_core(scheduler)) == {1: tokens_alone(prompt_of(7, 9), 4)[1:]}


def test_aborting_what_has_ended_or_never_was_changes_nothing() -> None:
    scheduler = make_scheduler()
    ended = sequence(0, max_tokens=1)
    queue(scheduler, ended, sequence(1))
    take_step(scheduler)
    for seq_id in (0, 0, 77):
        scheduler.abort(seq_id)
        check_blocks(scheduler)
    assert ended.finish_reason is FinishReason.LENGTH
    assert ids(scheduler.running) == [1]


def test_an_aborted_sequence_is_not_among_the_finished_of_the_next_step() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0), sequence(1))
    take_step(scheduler)
    scheduler.abort(0)
    _, step = take_step(scheduler)
    assert step.seq_ids == [1]
    assert step.finished == {}


# What is reported about a step


def test_prompt_tokens_are_prefill_and_tokens_after_the_prompt_are_decode() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=8)
    queue(scheduler, sequence(0, 6), sequence(1, 6))
    counts = [
        (step.stats.num_prefill_tokens, step.stats.num_decode_tokens)
        for _, step in (take_step(scheduler) for _ in range(3))
    ]
    assert counts == [(8, 0), (4, 1), (0, 2)]


def test_a_prompt_of_one_token_is_prefill() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, 1))
    _, step = take_step(scheduler)
    assert (step.stats.num_prefill_tokens, step.stats.num_decode_tokens) == (1, 0)


def test_stats_describe_the_state_after_a_step() -> None:
    scheduler = make_scheduler(num_blocks=50, max_num_seqs=2)
    queue(scheduler, sequence(0, 9, max_tokens=1), sequence(1, 9), sequence(2, 9))
    _, step = take_step(scheduler)
    assert step.stats.num_running == 1
    assert step.stats.num_waiting == 1
    assert step.stats.num_free_blocks == 47
    assert step.stats.num_blocks == 50
    assert (step.stats.num_prefix_queried, step.stats.num_prefix_hits) == (18, 0)
    assert step.stats.num_preempted == 0


def test_a_sequence_is_reported_as_admitted_once() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=4)
    scheduler.add(sequence(0, 10))
    admitted = [step.admitted for _, step in steps_to_end(scheduler)]
    assert admitted[0] == {0: 0}
    assert not any(admitted[1:])
