"""Steps scheduled before the tokens of the previous one are known: each rule on its own, then equality on a model."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from app.engine.core import EngineCore, Execution
from app.messages import Abort, FinishReason, Generate, SamplingParams, StepOutput, TokenLogprobs
from app.model.inputs import ForwardBatch
from app.model.runner import Decoder, ModelRunner
from app.scheduler.batch import NO_TOKEN, ModelOutput, Sampled, ScheduledBatch
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.builders import (
    FakeCacheRunner,
    ScriptedRunner,
    check_blocks,
    ids,
    make_scheduler,
    next_token,
    prompt_of,
    queue,
    run_to_end,
    sequence,
    shape,
    tokens_alone,
)
from tests.models import VOCAB_SIZE, make_runner

# The scheduler, one step ahead


def test_the_next_token_is_computed_before_its_id_is_known() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, 4))
    first, second = scheduler.schedule(), scheduler.schedule()
    assert (shape(first), shape(second)) == ([(0, 0, 4)], [(0, 4, 5)])
    assert [row.ends_unknown for row in (*first.rows, *second.rows)] == [False, True]
    assert scheduler.update(first, ModelOutput([7])).token_ids == [7]
    assert scheduler.update(second, ModelOutput([8])).token_ids == [8]
    assert list(scheduler.running[0].token_ids) == [*prompt_of(0, 4), 7, 8]


def test_what_was_computed_after_a_stop_token_is_dropped() -> None:
    scheduler = make_scheduler()
    queue(scheduler, sequence(0, 4, stop_token_ids=[7]), sequence(1, 5))
    first, second = scheduler.schedule(), scheduler.schedule()
    assert scheduler.update(first, ModelOutput([7, 8])).finished == {0: FinishReason.STOP}
    check_blocks(scheduler)
    step = scheduler.update(second, ModelOutput([9, 10], {0: TokenLogprobs(9, 0.0), 1: TokenLogprobs(10, 0.0)}))
    assert (step.seq_ids, step.token_ids, step.finished) == ([1], [10], {})
    assert step.logprobs == {0: TokenLogprobs(10, 0.0)}


def test_what_was_computed_for_an_aborted_sequence_is_dropped() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, 4))
    batch = scheduler.schedule()
    scheduler.abort(0)
    check_blocks(scheduler)
    assert scheduler.pool.num_free == scheduler.pool.num_blocks
    step = scheduler.update(batch, ModelOutput([7]))
    assert (step.token_ids, step.finished, scheduler.has_work) == ([], {}, False)


def test_a_sequence_that_waits_for_its_last_token_gives_up_its_place_and_its_blocks() -> None:
    scheduler = make_scheduler(max_num_seqs=1, num_blocks=2)
    queue(scheduler, sequence(0, 7, max_tokens=1), sequence(1, 7, max_tokens=1))
    first, second = scheduler.schedule(), scheduler.schedule()
    assert (shape(first), shape(second)) == ([(0, 0, 7)], [(1, 0, 7)])
    check_blocks(scheduler)
    assert scheduler.update(first, ModelOutput([7])).finished == {0: FinishReason.LENGTH}
    assert scheduler.update(second, ModelOutput([8])).finished == {1: FinishReason.LENGTH}


def test_a_sequence_that_waits_for_its_last_token_can_still_be_aborted() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(0, 4, max_tokens=1))
    batch = scheduler.schedule()
    assert scheduler.schedule().is_empty
    scheduler.abort(0)
    assert scheduler.update(batch, ModelOutput([7])).finished == {}
    assert not scheduler.has_work


def test_a_block_can_be_found_as_soon_as_all_its_tokens_are_known() -> None:
    scheduler = make_scheduler(block_size=4)
    scheduler.add(sequence(0, 3))
    first, second = scheduler.schedule(), scheduler.schedule()
    assert not scheduler.pool._by_hash, "the fourth token of the block is computed, but not known"
    scheduler.update(first, ModelOutput([7]))
    assert len(scheduler.pool._by_hash) == 1
    scheduler.update(second, ModelOutput([8]))
    scheduler.add(sequence(1, [*prompt_of(0, 3), 7, 5]))
    assert (1, 4, 5) in shape(scheduler.schedule())


def test_a_sequence_preempted_while_its_token_is_in_flight_continues_after_it() -> None:
    scheduler = make_scheduler(num_blocks=5, block_size=4)
    queue(scheduler, sequence(0, 7, max_tokens=8), sequence(1, 7, max_tokens=8))
    steps = [scheduler.schedule(), scheduler.schedule()]
    scheduler.update(steps[0], ModelOutput([20, 30]))
    third = scheduler.schedule()
    assert (third.preempted, shape(third)) == ({1: 8}, [(0, 8, 9)])
    check_blocks(scheduler)
    [preempted] = scheduler.waiting
    scheduler.update(steps[1], ModelOutput([21, 31]))
    assert list(preempted.token_ids) == [*prompt_of(1, 7), 30, 31]
    check_blocks(scheduler)


def test_a_sequence_may_end_while_it_waits_to_be_computed_again() -> None:
    scheduler = make_scheduler(num_blocks=5, block_size=4)
    queue(scheduler, sequence(0, 7, max_tokens=8), sequence(1, 7, max_tokens=8, stop_token_ids=[31]))
    steps = [scheduler.schedule(), scheduler.schedule()]
    scheduler.update(steps[0], ModelOutput([20, 30]))
    assert scheduler.schedule().preempted == {1: 8}
    assert scheduler.update(steps[1], ModelOutput([21, 31])).finished == {1: FinishReason.STOP}
    check_blocks(scheduler)
    assert ids(scheduler.running) == [0]
    assert not scheduler.waiting


def test_blocks_of_a_sequence_that_failed_are_not_found_even_if_released_before() -> None:
    scheduler = make_scheduler(block_size=4)
    scheduler.add(sequence(0, 8, max_tokens=1))
    batch = scheduler.schedule()
    scheduler.schedule()
    assert scheduler.pool.num_cached == 2
    assert scheduler.update(batch, ModelOutput([NO_TOKEN])).finished == {0: FinishReason.ERROR}
    assert scheduler.pool.num_cached == 0
    check_blocks(scheduler)


# The engine


def test_the_device_has_the_next_step_before_the_host_reads_the_last_one() -> None:
    events: list[str] = []

    class Execution:
        def __init__(self, number: int, output: ModelOutput) -> None:
            self.number, self.output = number, output

        def wait(self) -> ModelOutput:
            events.append(f"read {self.number}")
            return self.output

    class Device(ScriptedRunner):
        def execute(self, batch: object) -> Execution:  # type: ignore[override]
            number = sum(event.startswith("launch") for event in events)
            events.append(f"launch {number}")
            return Execution(number, super().execute(batch))  # type: ignore[arg-type]

    core = EngineCore(make_scheduler(), Device(), overlap=True)
    core.apply(Generate(0, [1, 2], SamplingParams(3)))
    assert run_to_end(core) == {0: tokens_alone([1, 2], 3)}
    assert events == ["launch 0", "launch 1", "read 0", "launch 2", "read 1", "read 2"]


def test_an_engine_has_work_until_the_last_step_is_read() -> None:
    core = EngineCore(make_scheduler(), ScriptedRunner(), overlap=True)
    stop = tokens_alone([1, 2], 1)
    core.apply(Generate(0, [1, 2], SamplingParams(9, stop_token_ids=frozenset(stop))))
    assert core.step().finished == {0: FinishReason.STOP}
    assert core.has_work
    assert core.step().token_ids == []
    assert not core.has_work


def test_a_deadline_that_passes_while_a_step_is_in_flight_is_reported() -> None:
    now = 0.0
    scheduler = Scheduler(BlockPool(9), 4, 1, 64, clock=lambda: now)
    core = EngineCore(scheduler, ScriptedRunner(), overlap=True)
    core.apply(Generate(0, [1, 2], SamplingParams(2)))
    core.apply(Generate(1, [3, 4], SamplingParams(2), deadline=5.0))
    core.step()
    now = 6.0
    finished: dict[int, FinishReason] = {}
    while core.has_work:
        finished |= core.step().finished
    assert finished == {0: FinishReason.LENGTH, 1: FinishReason.QUEUE_TIMEOUT}


def test_steps_with_drafts_do_not_overlap() -> None:
    core = EngineCore(make_scheduler(step_cost=8), FakeCacheRunner(100, 4), overlap=True)
    core.apply(Generate(0, [1, 2] * 8, SamplingParams(12)))
    assert run_to_end(core) == {0: tokens_alone([1, 2] * 8, 12, language=next_token)}


# The model

PARAMS = [
    SamplingParams(24, temperature=0.0),
    SamplingParams(24, seed=3, logprobs=3, prompt_logprobs=1),
    SamplingParams(24, seed=4, temperature=0.7, top_k=9, top_p=0.9, min_p=0.01),
    SamplingParams(24, seed=5, repetition_penalty=1.3),
    SamplingParams(24, seed=6, presence_penalty=0.9, frequency_penalty=0.7, logprobs=0),
    SamplingParams(24, temperature=0.0, repetition_penalty=1.5, frequency_penalty=0.4),
    SamplingParams(24, seed=7, stop_token_ids=frozenset(range(0, VOCAB_SIZE, 4)), min_tokens=3),
    SamplingParams(24, seed=8, top_p=0.8, logit_bias=((5, 4.0), (6, -100.0))),
]

WAITING = ("item", "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal")
"""Operators that wait for the device."""


TENSOR, AS_TENSOR = torch.tensor, torch.as_tensor


class NothingWaits(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.name().removeprefix("aten::").split(".")[0] not in WAITING, func
        if func.name().startswith(("aten::index.", "aten::index_put")):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "a mask is counted first"
        return func(*args, **(kwargs or {}))


@dataclass
class WatchedRunner:
    """Steps of one token are launched, sampled and copied without waiting for what is computed."""

    runner: ModelRunner
    num_watched: int = 0

    def execute(self, batch: ScheduledBatch) -> Execution:
        if batch.num_prefill_tokens:
            return self.runner.execute(batch)
        self.num_watched += 1
        decoder = self.runner.decoder
        with (
            NothingWaits(),
            patch.object(self.runner, "decoder", Unwatched(decoder)),
            patch.object(torch.Tensor, "tolist", side_effect=AssertionError("waits for the device")),
            patch.object(torch, "tensor", side_effect=AssertionError("copied from memory that is not pinned")),
            patch.object(torch, "as_tensor", side_effect=AssertionError("copied from memory that is not pinned")),
        ):
            return self.runner.execute(batch)


@dataclass
class Unwatched:
    """Attention in plain torch waits as it likes; what launches without waiting on CUDA are Triton's kernels."""

    decoder: Decoder

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        with _disable_current_modes(), patch.multiple(torch, tensor=TENSOR, as_tensor=AS_TENSOR):
            return self.decoder.forward(batch)

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return self.decoder.sample(logits, sequences)


def test_nothing_waits_for_the_device_between_two_steps() -> None:
    runner = WatchedRunner(make_runner("Llama", 20, 16))
    core = EngineCore(Scheduler(BlockPool(20), 16, 16, 256), runner, overlap=True)
    for seq_id, params in enumerate(PARAMS):
        core.apply(Generate(seq_id, [seq_id + 1] * 9, params if params.top_p == 1 else replace(params, top_k=9)))
    run_to_end(core)
    assert runner.num_watched > 20


GONE = (2, 11)
"""Those whose clients leave."""


@dataclass
class Given:
    """What a random day gave to whom, and how often somebody was preempted."""

    tokens: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=lambda: defaultdict(list))
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=lambda: defaultdict(list))
    finished: dict[int, FinishReason] = field(default_factory=dict)
    num_preempted: int = 0

    def take(self, step: StepOutput) -> None:
        for row, (seq_id, token_id) in enumerate(zip(step.seq_ids, step.token_ids, strict=True)):
            self.tokens[seq_id].append(token_id)
            if row in step.logprobs:
                self.logprobs[seq_id].append(rounded(step.logprobs[row]))
        for seq_id, reports in step.prompt_logprobs.items():
            self.prompt_logprobs[seq_id] += map(rounded, reports)
        self.finished |= step.finished
        self.num_preempted += step.stats.num_preempted

    def of_all_but(self, gone: Iterable[int]) -> list[dict[int, object]]:
        kinds = (self.tokens, self.logprobs, self.prompt_logprobs, self.finished)
        return [{seq_id: what for seq_id, what in kind.items() if seq_id not in gone} for kind in kinds]


def rounded(report: TokenLogprobs) -> TokenLogprobs:
    """What is left of a report when sums are taken in another order."""
    return TokenLogprobs(report.token_id, round(report.logprob, 2), tuple((i, round(x, 2)) for i, x in report.top))


def play(architecture: str, native: bool, overlap: bool, seed: int) -> Given:
    rng = random.Random(seed)
    prompts = [[rng.randrange(1, VOCAB_SIZE) for _ in range(rng.randrange(1, 40))] for _ in range(20)]
    scheduler = Scheduler(BlockPool(8), 16, max_num_seqs=6, max_num_batched_tokens=14)
    core = EngineCore(scheduler, make_runner(architecture, 8, 16, native), overlap)
    given = Given()

    def take_step() -> None:
        given.take(core.step())
        check_blocks(scheduler)

    for seq_id, prompt in enumerate(prompts):
        params = replace(PARAMS[seq_id % len(PARAMS)], seed=seq_id)
        core.apply(Generate(seq_id, prompt, params, owner=rng.choice("ab")))
        if seq_id >= 10:
            take_step()
    core.apply(Abort((*GONE, 99)))
    while core.has_work:
        take_step()
    assert scheduler.pool.num_free == scheduler.pool.num_blocks
    return given


@pytest.mark.parametrize(
    ("architecture", "native", "seed"),
    [("Llama", False, 0), ("Llama", True, 1), ("Mistral", True, 2), ("Qwen3", True, 3), ("gpt-oss", False, 4)],
)
def test_overlapped_equals_one_step_after_another(architecture: str, native: bool, seed: int) -> None:
    expected = play(architecture, native, overlap=False, seed=seed)
    given = play(architecture, native, overlap=True, seed=seed)
    assert given.of_all_but(GONE) == expected.of_all_but(GONE)
    assert given.num_preempted > 0, "the pool is too large for this test to mean anything"
