"""Speculation in the schedule: drafts only use what is left over, and leave nothing behind when they are rejected."""

from __future__ import annotations

from collections.abc import Sequence as Tokens

import pytest

from app.messages import FinishReason, StepOutput, TokenLogprobs
from app.scheduler.batch import NO_TOKEN, ModelOutput, ScheduledBatch
from app.scheduler.scheduler import Scheduler
from tests.builders import (
    check_blocks,
    first_preemption,
    ids,
    make_scheduler,
    repeating,
    sequence,
    shape,
    steps_to_end,
    take_step,
    tokens_alone,
    tokens_of,
)

LOOP = [1, 2, 3] * 6
"""A prompt so long that a step of 16 tokens has no room for a draft after it."""


def parrot(token_ids: Tokens[int]) -> int:
    """Goes on with a loop of three."""
    return token_ids[-3]


def breaking_off(_: Tokens[int]) -> int:
    return 77


def drafts(batch: ScheduledBatch) -> dict[int, tuple[int, ...]]:
    return {row.sequence.seq_id: row.draft for row in batch.rows}


def looping(num_sequences: int = 1, max_tokens: int = 30, **world: int) -> Scheduler:
    """Sequences that say 1 2 3 over and over, each with a first token of its own."""
    scheduler = make_scheduler(**({"step_cost": 2} | world))
    for seq_id in range(num_sequences):
        scheduler.add(sequence(seq_id, [100 + seq_id, *LOOP], max_tokens=max_tokens))
    return scheduler


def decoding(num_sequences: int = 1, max_tokens: int = 30, **world: int) -> Scheduler:
    """The same after their prompts."""
    scheduler = looping(num_sequences, max_tokens, **world)
    while any(s.num_tokens == s.num_prompt_tokens for s in (*scheduler.waiting, *scheduler.running)):
        take_step(scheduler, parrot)
    return scheduler


def test_a_step_computes_the_last_token_and_the_draft_after_it() -> None:
    scheduler = decoding()
    known = scheduler.running[0].num_tokens
    batch, step = take_step(scheduler, parrot)
    draft = batch.rows[0].draft
    assert shape(batch) == [(0, known - 1, known + len(draft))]
    assert step.seq_ids == [0] * (len(draft) + 1)
    assert scheduler.running[0].num_owed_tokens == 1


def test_accepted_drafts_take_fewer_steps_to_the_same_tokens() -> None:
    plain, speculative = (
        [step for _, step in steps_to_end(looping(step_cost=cost), language=parrot)] for cost in (0, 2)
    )
    assert tokens_of(speculative) == tokens_of(plain) == {0: tokens_alone([100, *LOOP], 30, language=parrot)}
    assert (len(plain), len(speculative)) == (30, 6)


def test_a_step_that_computes_nothing_is_a_step() -> None:
    scheduler = decoding()
    scheduler.abort(0)
    batch, step = take_step(scheduler, parrot)
    assert batch.is_empty
    assert (step.seq_ids, step.stats.num_running, step.stats.num_drafts) == ([], 0, 0)


def test_a_rejected_draft_changes_nothing() -> None:
    scheduler = make_scheduler(step_cost=2)
    scheduler.add(sequence(0, LOOP, max_tokens=20))
    take_step(scheduler, parrot)
    steps = [step for _, step in steps_to_end(scheduler, language=lambda token_ids: 200 + len(token_ids))]
    assert steps[0].stats.num_drafts == 1
    assert steps[0].stats.num_accepted_per_position == ()
    assert tokens_of(steps) == {0: [200 + length for length in range(19, 38)]}


def test_a_draft_is_accepted_up_to_its_first_wrong_token() -> None:
    scheduler = decoding()
    surprise = scheduler.running[0].num_tokens + 1
    _, step = take_step(scheduler, lambda token_ids: 77 if len(token_ids) == surprise else parrot(token_ids))
    assert step.token_ids[-1] == 77
    assert len(step.token_ids) == 2
    assert step.stats.num_accepted_per_position == (1,)


def test_blocks_that_only_rejected_tokens_needed_are_released() -> None:
    scheduler = decoding(block_size=1, num_blocks=60)
    for _ in range(3):
        take_step(scheduler, parrot)
    num_free = scheduler.pool.num_free
    batch, _ = take_step(scheduler, breaking_off)
    assert len(batch.rows[0].draft) > 2
    assert scheduler.pool.num_free == num_free - 1
    assert len(scheduler.running[0].block_table) == scheduler.running[0].num_computed_tokens


def test_a_draft_never_goes_beyond_the_last_token_allowed() -> None:
    for max_tokens in range(1, 20):
        scheduler = looping(max_tokens=max_tokens)
        steps = []
        for batch, step in steps_to_end(scheduler, language=parrot):
            assert all(row.end < row.sequence.max_num_tokens for row in batch.rows)
            steps.append(step)
        assert tokens_of(steps)[0] == tokens_alone([100, *LOOP], max_tokens, language=parrot)
        assert steps[-1].finished == {0: FinishReason.LENGTH}


def test_a_stop_token_within_what_repeats_ends_the_sequence_there() -> None:
    scheduler = make_scheduler(step_cost=8)
    scheduler.add(sequence(0, [*LOOP, 9, *LOOP, 1], max_tokens=30, stop_token_ids=[9]))
    prompt = [*LOOP, 9, *LOOP, 1]

    def copying(token_ids: Tokens[int]) -> int:
        return prompt[len(token_ids) - len(prompt) + 1]

    steps = [step for _, step in steps_to_end(scheduler, language=copying)]
    assert tokens_of(steps) == {0: [*LOOP[1:], 9]}
    assert steps[-1].finished == {0: FinishReason.STOP}
    assert sum(step.stats.num_drafts for step in steps) > 0
    assert len(steps) < 8


def test_drafts_only_use_the_budget_that_is_left_over() -> None:
    scheduler = decoding(max_num_batched_tokens=16, max_num_seqs=4)
    scheduler.add(sequence(1, 40))
    batch, _ = take_step(scheduler, parrot)
    assert drafts(batch) == {0: (), 1: ()}
    assert sum(row.num_tokens for row in batch.rows) == 16


def test_drafts_stay_within_the_budget() -> None:
    scheduler = decoding(2, max_num_batched_tokens=5, max_num_seqs=2)
    for batch, _ in steps_to_end(scheduler, language=parrot):
        assert sum(row.num_tokens for row in batch.rows) <= 5


def test_many_sequences_share_the_draft_tokens_of_a_step_equally() -> None:
    scheduler = decoding(4, step_cost=8, max_num_batched_tokens=16)
    for _ in range(4):
        batch, _ = take_step(scheduler, parrot)
    assert [len(draft) for draft in drafts(batch).values()] == [3, 3, 3, 3]


def test_with_many_sequences_nothing_is_drafted() -> None:
    batch, _ = take_step(decoding(16, num_blocks=200), parrot)
    assert set(drafts(batch).values()) == {()}


def test_off_means_off() -> None:
    batch, step = take_step(decoding(step_cost=0), parrot)
    assert drafts(batch) == {0: ()}
    assert (step.stats.num_drafts, step.stats.num_draft_tokens) == (0, 0)


def test_drafts_only_use_the_blocks_that_are_left_over() -> None:
    """Two prompts of 19 tokens and a next token each: one block is left of 41."""
    scheduler = decoding(2, block_size=1, num_blocks=41, max_tokens=20)
    batch = scheduler.schedule()
    check_blocks(scheduler)
    assert sorted(map(len, drafts(batch).values())) == [0, 1]
    assert scheduler.pool.num_free == 0


@pytest.mark.parametrize("num_blocks", range(8, 14))
def test_no_sequence_is_preempted_for_a_draft(num_blocks: int) -> None:
    """Wrong ones take nothing with them into the next step, so that preemptions come as they would without them."""
    counts = []
    for step_cost in (0, 8):
        scheduler = looping(3, 12, block_size=4, num_blocks=num_blocks, step_cost=step_cost)
        steps = [step for _, step in steps_to_end(scheduler, language=lambda token_ids: 200 + len(token_ids))]
        counts.append(sum(step.stats.num_preempted for step in steps))
    assert counts[0] == counts[1]


def test_blocks_filled_with_accepted_drafts_are_found_by_the_next_sequence() -> None:
    scheduler = looping(max_tokens=30)
    [*_, (_, last)] = steps_to_end(scheduler, language=parrot)
    assert last.finished
    said = [100, *LOOP, *tokens_alone([100, *LOOP], 30, language=parrot)]
    scheduler.add(sequence(1, [*said, 50]))
    _, step = take_step(scheduler)
    assert step.admitted == {1: (len(said) - 1) // 4 * 4}


def test_a_rejected_draft_is_never_found_in_the_cache() -> None:
    scheduler = decoding(block_size=2)
    for _ in range(3):
        take_step(scheduler, parrot)
    believed = [*scheduler.running[0].token_ids]
    take_step(scheduler, breaking_off)
    scheduler.abort(0)
    scheduler.add(sequence(1, [*believed, *(LOOP * 2)]))
    _, step = take_step(scheduler)
    assert step.admitted[1] <= len(believed)


def test_logits_that_are_not_finite_within_a_draft_end_the_sequence_after_the_accepted_tokens() -> None:
    scheduler = decoding()
    for _ in range(2):
        take_step(scheduler, parrot)
    batch = scheduler.schedule()
    draft = batch.rows[0].draft
    assert len(draft) == 4
    step = scheduler.update(batch, ModelOutput([*draft[:2], NO_TOKEN, NO_TOKEN, NO_TOKEN]))
    check_blocks(scheduler)
    assert step.token_ids == list(draft[:2])
    assert step.finished == {0: FinishReason.ERROR}
    assert not scheduler.has_work


def test_logprobs_go_with_the_tokens_that_are_kept() -> None:
    scheduler = decoding(2)
    take_step(scheduler, parrot)
    batch = scheduler.schedule()
    reports = [TokenLogprobs(number, -0.5) for number in range(sum(row.num_samples for row in batch.rows))]
    first, second = batch.rows
    num_samples = second.num_samples
    sampled = [first.draft[0], 77, *[78] * (first.num_samples - 2), *second.draft, 79]
    step = scheduler.update(batch, ModelOutput(sampled, dict(enumerate(reports))))
    assert step.seq_ids == [0, 0] + [1] * num_samples
    assert step.token_ids == [first.draft[0], 77, *second.draft, 79]
    kept = [0, 1, *range(len(reports) - num_samples, len(reports))]
    assert [step.logprobs[row].token_id for row in range(len(step.token_ids))] == kept


def test_draft_tokens_and_accepted_tokens_are_counted() -> None:
    scheduler = decoding(2, step_cost=8, max_num_batched_tokens=8)
    take_step(scheduler, parrot)
    batch = scheduler.schedule()
    first, second = batch.rows
    assert (len(first.draft), len(second.draft)) == (3, 3)
    sampled = [*first.draft[:1], 77, 77, 77, *second.draft, 79]
    stats = scheduler.update(batch, ModelOutput(sampled)).stats
    assert (stats.num_drafts, stats.num_draft_tokens) == (2, 6)
    assert stats.num_accepted_per_position == (2, 1, 1)
    assert (stats.num_prefill_tokens, stats.num_decode_tokens) == (0, 8)


def test_a_sequence_that_is_aborted_midway_changes_nothing_for_the_others() -> None:
    scheduler = make_scheduler(step_cost=8)
    for seq_id in range(3):
        scheduler.add(sequence(seq_id, [100 + seq_id, *LOOP], max_tokens=40))
    steps: list[StepOutput] = [take_step(scheduler, repeating)[1] for _ in range(4)]
    scheduler.abort(1)
    check_blocks(scheduler)
    assert ids(scheduler.running) == [0, 2]
    steps += [step for _, step in steps_to_end(scheduler, language=repeating)]
    tokens = tokens_of(steps)
    for seq_id in (0, 2):
        assert tokens[seq_id] == tokens_alone([100 + seq_id, *LOOP], 40, language=repeating)


def test_a_preempted_sequence_continues_with_drafts() -> None:
    scheduler = looping(3, 16, num_blocks=16, block_size=4)
    first_preemption(scheduler)
    assert scheduler.waiting
    assert any(batch.rows and any(drafts(batch).values()) for batch, _ in steps_to_end(scheduler, language=parrot))
