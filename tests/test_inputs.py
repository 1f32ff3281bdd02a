"""What the model is given of a step: every kind of row in one small batch. Blocks hold 4 tokens."""

from __future__ import annotations

import numpy as np
import torch

from app.model.inputs import ForwardBatch, build_forward_batch
from app.scheduler.scheduler import Scheduler
from tests.builders import make_scheduler, queue, sequence, take_step

CPU = torch.device("cpu")


def next_inputs(scheduler: Scheduler) -> ForwardBatch:
    return build_forward_batch(scheduler.schedule(), scheduler.block_size, CPU)


def rows_of(inputs: ForwardBatch, column: torch.Tensor) -> list[list[int]]:
    """A column of tokens, divided into its rows."""
    return [part.tolist() for part in column.tensor_split(torch.from_numpy(inputs.cu_seqlens_q[1:-1].astype(np.int64)))]


def slots_by_definition(scheduler: Scheduler, seq_id: int, start: int, end: int) -> list[int]:
    [table] = [s.block_table for s in scheduler.running if s.seq_id == seq_id]
    return [table[position // 4] * 4 + position % 4 for position in range(start, end)]


def test_rows_that_decode_come_before_those_of_prompts() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, [1, 2, 3, 4, 5]), sequence(1, [6, 7]))
    take_step(scheduler, lambda token_ids: 40 + len(token_ids))
    queue(scheduler, sequence(2, [11, 12, 13, 14, 15, 16]))
    inputs = next_inputs(scheduler)
    assert rows_of(inputs, inputs.input_ids) == [[42], [45], [11, 12, 13, 14, 15, 16]]
    assert rows_of(inputs, inputs.positions) == [[2], [5], [0, 1, 2, 3, 4, 5]]
    assert rows_of(inputs, inputs.slot_mapping) == [
        slots_by_definition(scheduler, 1, 2, 3),
        slots_by_definition(scheduler, 0, 5, 6),
        slots_by_definition(scheduler, 2, 0, 6),
    ]
    assert inputs.seq_lens.tolist() == [3, 6, 6]
    assert inputs.logits_indices.tolist() == [0, 1, 7]
    assert (inputs.num_decode_rows, inputs.is_decode) == (2, False)


def test_block_tables_are_padded_with_zeros_and_what_kernels_read_is_int32() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 13), sequence(1, 2))
    inputs = next_inputs(scheduler)
    tables = {s.seq_id: list(s.block_table) for s in scheduler.running}
    assert inputs.block_tables.tolist() == [[*tables[1], 0, 0, 0], tables[0]]
    assert {array.dtype for array in (inputs.block_tables, inputs.seq_lens, inputs.cu_seqlens_q)} == {np.dtype("int32")}


def test_a_step_in_which_all_decode_is_told_from_one_whose_rows_happen_to_be_short() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=2)
    queue(scheduler, sequence(0, 1), sequence(1, 3))
    short = next_inputs(scheduler)
    assert (short.num_decode_rows, short.logits_indices.tolist(), short.is_decode) == (2, [0], False)
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 1), sequence(1, 3))
    take_step(scheduler)
    assert next_inputs(scheduler).is_decode


def test_a_token_that_the_host_does_not_know_is_zero() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, [7, 8]), sequence(1, [9, 9, 9]))
    scheduler.schedule()
    inputs = next_inputs(scheduler)
    assert (inputs.input_ids.tolist(), inputs.positions.tolist(), inputs.is_decode) == ([0, 0], [2, 3], True)


def test_guesses_follow_the_last_token_and_are_all_sampled_behind() -> None:
    scheduler = make_scheduler(step_cost=8)
    queue(scheduler, sequence(0, [1, 2, 3] * 4, max_tokens=30))
    take_step(scheduler, lambda token_ids: len(token_ids) % 3 + 1)
    num_known = scheduler.running[0].num_tokens
    inputs = next_inputs(scheduler)
    positions = inputs.positions.tolist()
    assert positions == [*range(num_known - 1, num_known - 1 + len(positions))]
    assert len(positions) > 1
    assert inputs.input_ids.tolist() == [position % 3 + 1 for position in positions]
    assert inputs.logits_indices.tolist() == [*range(len(positions))]


def test_logits_for_prompts_come_behind_those_to_sample_from() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 4, prompt_logprobs=1), sequence(1, 6, prompt_logprobs=0), sequence(2, 5))
    inputs = next_inputs(scheduler)
    assert inputs.cu_seqlens_q.tolist() == [0, 4, 9, 15]
    assert inputs.logits_indices.tolist() == [3, 8, 14, 0, 1, 2, 9, 10, 11, 12, 13]
