"""What steps need of a device's memory, and what that leaves to the cache; the device is one that only counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from app.model.graphs import Run
from app.model.inputs import build_forward_batch
from app.model.memory import StepLimits
from app.model.modules.sdpa import MAX_GATHERED_TOKENS, plan
from app.model.profile import MeteredRecorder, bytes_for_cache, largest_batch, measure_needs, without_long_contexts
from tests.models import make_runner
from tests.test_graphs import TellingModel

CPU = torch.device("cpu")
LIMITS = [
    pytest.param(StepLimits(4, 64, 128), id="pieces of prompts"),
    pytest.param(StepLimits(8, 8, 128), id="nothing but single tokens"),
    pytest.param(StepLimits(2, 1000, 128), id="more budget than sequences can take"),
    pytest.param(StepLimits(1, 20, 256, 32), id="one sequence"),
]


@dataclass
class CountingDevice:
    """`step` bytes are taken while steps run, `recordings` by one recording after the other."""

    total: int
    used: int
    step: int
    recordings: list[int]

    def free(self) -> int:
        return self.total - self.used

    def growth(self, run: Callable[[], object]) -> int:
        run()
        return self.step

    def record(self, run: Run) -> Run:
        run()
        self.used += self.recordings.pop(0)
        return run


def test_the_cache_gets_what_steps_recordings_and_the_share_for_others_leave() -> None:
    device = CountingDevice(total=1000, used=300, step=50, recordings=[40, 5])
    limits = StepLimits(8, 16, 64)
    needed = measure_needs(TellingModel(), 4, limits, CPU, device, device.record)
    assert needed == 50 + 40 + 3 * 5, "of the sizes 8, 4, 2 and 1 the last three take no more than the second did"
    device.used = 300
    assert bytes_for_cache(device.free(), device.total, needed, 0.75) == 1000 * 0.75 - 300 - needed
    assert bytes_for_cache(device.free(), device.total, needed, 0.25) < 0


def test_without_recordings_only_steps_count() -> None:
    device = CountingDevice(total=1000, used=300, step=50, recordings=[])
    assert measure_needs(TellingModel(), 4, StepLimits(8, 16, 64), CPU, device, None) == 50
    runner = make_runner("Llama", num_blocks=1, block_size=16)
    assert measure_needs(runner.decoder, 16, StepLimits(4, 8, 64), CPU, device, device.record) == 50, "it has no `run`"


def test_a_single_recording_stands_for_itself() -> None:
    device = CountingDevice(total=1000, used=0, step=0, recordings=[40])
    recorder = MeteredRecorder(device.record, device)
    assert recorder.total_of(0) == 0
    recorder(lambda: torch.zeros(1))
    assert recorder.total_of(1) == 40


@pytest.mark.parametrize("limits", LIMITS)
def test_the_largest_step_takes_all_that_a_step_may_take(limits: StepLimits) -> None:
    batch = largest_batch(limits, block_size=16)
    tokens = [row.num_tokens for row in batch.rows]
    assert sum(tokens) == min(limits.max_num_batched_tokens, limits.max_num_seqs * limits.length)
    assert len(tokens) == limits.max_num_seqs
    assert tokens == sorted(tokens, key=lambda count: count > 1), "rows of one token come first"
    forward_batch = build_forward_batch(batch, 16, CPU)
    assert len(forward_batch.logits_indices) == sum(tokens), "logits are wanted of every token"
    assert max(forward_batch.seq_lens) == limits.length


@pytest.mark.parametrize("limits", [*LIMITS, pytest.param(StepLimits(3, 5000, 100_000), id="long contexts")])
def test_without_long_contexts_it_takes_as_many_tokens(limits: StepLimits) -> None:
    long, short = (largest_batch(each, block_size=16) for each in (limits, without_long_contexts(limits)))
    assert [row.num_tokens for row in short.rows] == [row.num_tokens for row in long.rows]
    assert max(row.end for row in short.rows) <= 5000


@pytest.mark.parametrize("limits", LIMITS)
def test_the_largest_step_is_taken_in_a_cache_of_one_block(limits: StepLimits) -> None:
    runner = make_runner("Llama", num_blocks=1, block_size=16)
    output = runner.execute(largest_batch(limits, block_size=16)).wait()
    assert len(output.token_ids) == len(output.logprobs) == limits.max_num_seqs


def test_what_is_gathered_for_attention_is_bounded() -> None:
    batch = build_forward_batch(largest_batch(StepLimits(200, 200, MAX_GATHERED_TOKENS + 100), block_size=16), 16, CPU)
    groups = plan(batch, None, 16, CPU)
    gathered = [0 if group.blocks is None else 16 * group.blocks.numel() for group in groups]
    assert len(gathered) > 3
    assert max(gathered[:-2]) <= MAX_GATHERED_TOKENS
    assert gathered[-1] <= MAX_GATHERED_TOKENS + 128, "the longest row of all is alone"
    assert sum(group.num_rows for group in groups) == 200
