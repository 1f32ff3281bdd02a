"""A sequence whose numbers are not finite ends with an error, and harms nobody: not beside it, not after it."""

from __future__ import annotations

import copy

import pytest
import torch

from app.engine.core import EngineCore
from app.messages import FinishReason, Generate
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests import models
from tests.builders import run_to_end
from tests.models import generate_alone, greedy, make_runner, reference_model

BLOCK_SIZE = 16
POISON = 7
"""A token whose embedding is not a number."""
HEALTHY = tuple(range(20, 56))

on_every_backend = pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])


@pytest.fixture
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(reference_model("Llama"))
    with torch.no_grad():
        model.get_input_embeddings().weight[POISON, 3] = torch.nan
    monkeypatch.setattr(models, "reference_model", lambda _architecture: model)


def make_core(native: bool, num_blocks: int) -> EngineCore:
    runner = make_runner("Llama", num_blocks, BLOCK_SIZE, native)
    return EngineCore(Scheduler(BlockPool(num_blocks), BLOCK_SIZE, 8, 512), runner)


@on_every_backend
@pytest.mark.usefixtures("_poisoned")
def test_who_gets_the_blocks_of_a_broken_sequence_has_its_own_tokens(native: bool) -> None:
    expected = generate_alone("Llama", HEALTHY, 8)
    assert POISON not in expected
    core = make_core(native, num_blocks=3)
    for seq_id in range(3):
        core.apply(Generate(2 * seq_id, (*range(60, 90), POISON, *range(90, 100)), greedy(4)))
        assert core.step().finished == {2 * seq_id: FinishReason.ERROR}
        core.apply(Generate(2 * seq_id + 1, HEALTHY, greedy(8)))
        assert run_to_end(core) == {2 * seq_id + 1: expected}


@on_every_backend
@pytest.mark.usefixtures("_poisoned")
def test_who_shares_a_prefix_with_a_broken_sequence_has_its_own_tokens(native: bool) -> None:
    """The shared block is whole; what comes after it in the broken sequence is not, and is in the cache nowhere."""
    core = make_core(native, num_blocks=12)
    core.apply(Generate(0, HEALTHY, greedy(8)))
    core.apply(Generate(1, (*HEALTHY[:16], POISON, *HEALTHY[17:]), greedy(8)))
    assert core.step().finished == {1: FinishReason.ERROR}
    assert core.scheduler.pool.num_cached == 0
    tokens = run_to_end(core)
    core.apply(Generate(2, HEALTHY, greedy(8)))
    assert [*tokens[0]][-7:] == run_to_end(core)[2][-7:] == generate_alone("Llama", HEALTHY, 8)[-7:]
