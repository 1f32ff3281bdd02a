"""A server's day in small: arrivals, cancels, tiny pools, priorities, owners and shared prefixes on a real model."""

from __future__ import annotations

import random

import pytest

from app.engine.core import EngineCore
from app.messages import Abort, Generate
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.builders import check_blocks
from tests.models import VOCAB_SIZE, generate_alone, greedy, make_runner

BLOCK_SIZE = 8


@pytest.mark.parametrize("seed", range(4))
def test_survivors_of_a_random_run_get_the_tokens_they_would_have_had_alone(seed: int) -> None:
    rng = random.Random(seed)
    num_blocks = rng.randrange(10, 24)
    core = EngineCore(
        Scheduler(BlockPool(num_blocks), BLOCK_SIZE, max_num_seqs=rng.randrange(2, 9), max_num_batched_tokens=12),
        make_runner("Mistral", num_blocks, BLOCK_SIZE),
    )
    stems = [tuple(rng.randrange(1, VOCAB_SIZE) for _ in range(24)) for _ in range(3)]
    prompts: dict[int, tuple[int, ...]] = {}
    outputs: dict[int, list[int]] = {}
    finished: set[int] = set()
    while len(prompts) < 40 or core.has_work:
        if len(prompts) < 40 and rng.random() < 0.5:
            seq_id = len(prompts)
            tail = tuple(rng.randrange(1, VOCAB_SIZE) for _ in range(rng.randrange(1, 12)))
            prompts[seq_id], outputs[seq_id] = rng.choice(stems)[: rng.randrange(0, 25)] + tail, []
            salt, owner = rng.choice(["", "a"]), rng.choice(["", "one", "other"])
            core.apply(Generate(seq_id, prompts[seq_id], greedy(12), rng.randrange(3), salt, owner=owner))
        if prompts and rng.random() < 0.1:
            gone = rng.choice(list(prompts))
            core.apply(Abort((gone,)))
            if gone not in finished:
                outputs.pop(gone, None)
        step = core.step()
        check_blocks(core.scheduler)
        finished.update(step.finished)
        for seq_id, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            outputs[seq_id].append(token_id)
    assert len(outputs) > 20
    assert outputs == {seq_id: generate_alone("Mistral", prompts[seq_id], 12) for seq_id in outputs}
    assert core.scheduler.pool.num_free == num_blocks
