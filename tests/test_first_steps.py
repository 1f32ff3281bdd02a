"""What is run at a start so that every kernel is there: steps of all kinds, within what the engine may be given."""

from __future__ import annotations

import pytest
import torch

from app.model.first_steps import compile_kernels, doubling, every_kind_of_step, share_out
from app.model.memory import StepLimits
from app.scheduler.batch import ScheduledBatch
from tests.test_graphs import TellingModel

CPU = torch.device("cpu")


def tokens_of(step: ScheduledBatch) -> list[int]:
    return [row.num_tokens for row in step.rows]


@pytest.mark.parametrize(
    "limits",
    [StepLimits(8, 64, 32), StepLimits(1, 64, 32), StepLimits(8, 8, 32), StepLimits(3, 1000, 7), StepLimits(2, 50, 1)],
    ids=repr,
)
def test_no_step_is_more_than_the_engine_may_be_given(limits: StepLimits) -> None:
    for step in every_kind_of_step(limits, block_size=4):
        tokens = tokens_of(step)
        assert len(tokens) <= limits.max_num_seqs
        assert sum(tokens) <= limits.max_num_batched_tokens
        assert tokens == sorted(tokens, key=lambda count: count > 1), "rows of one token come first"
        for row in step.rows:
            assert 0 <= row.start < row.end <= limits.length
            assert len(row.sequence.block_table) == -(-row.end // 4)
            assert not any(row.sequence.block_table), "a cache of one block is enough"


def test_rows_tokens_and_tiles_double_from_step_to_step() -> None:
    steps = every_kind_of_step(StepLimits(6, 50, 32), block_size=4)
    assert [tokens_of(step) for step in steps] == [
        *([1], [1] * 2, [1] * 4, [1] * 6),
        *([2], [2] * 2, [2] * 4, [2] * 5 + [6], [2] * 5 + [22], [2, 2, 2, 2, 10, 32]),
        [2, 2, 2, 2, 10, 32],
    ]
    *pieces, whole = steps
    assert all(row.start == 1 for step in pieces for row in step.rows if row.num_tokens < 32)
    assert [row.start for row in whole.rows] == [1, 1, 1, 1, 1, 0]


def test_numbers_double_up_to_the_last_one() -> None:
    assert doubling(2, 9) == [2, 4, 8, 9]
    assert doubling(1, 4) == [1, 2, 4]
    assert doubling(2, 2) == [2]
    assert doubling(2, 1) == []


def test_prompts_are_many_before_they_are_long_and_no_longer_than_sequences() -> None:
    limits = StepLimits(3, 100, 10)
    assert [share_out(num_tokens, limits) for num_tokens in (2, 5, 9, 20, 30)] == [
        [2], [2, 3], [2, 2, 5], [2, 8, 10], [10, 10, 10],
    ]  # fmt: skip


def test_a_start_takes_them_all_and_tells_how_far_it_is() -> None:
    told: list[float] = []
    limits = StepLimits(4, 16, 32)
    compile_kernels(TellingModel(), 4, limits, CPU, told.append)
    assert told == [(index + 1) / len(told) for index in range(len(every_kind_of_step(limits, 4)))]
