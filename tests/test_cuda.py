"""On a CUDA device: what the tests on the CPU must take on trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.messages import Generate
from app.model.profile import CudaMeter
from app.model.sampling.sampler import sample
from app.model.transfer import to_device
from tests.bench.gpu.engine import Engine, give_memory_back
from tests.bench.gpu.scale import Scale
from tests.bench.shapes import SHAPES
from tests.builders import prompt_of, tokens_of
from tests.models import greedy
from tests.test_sampler import sequence

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


class Exactly(Scale):
    """In float32, so that tokens do not depend on how a sum is divided."""

    dtype = torch.float32


def outputs(scale: Scale, **settings: object) -> dict[int, list[int]]:
    """Tokens of sequences that end one after the other, so that the number of rows goes down from ten."""
    engine = Engine.of(scale, SHAPES["25M"], max_num_seqs=10, gpu_memory_utilization=0.3, **settings)
    for seq_id in range(10):
        engine.core.apply(
            Generate(seq_id, [t % 8192 for t in prompt_of(seq_id, 5 + 7 * seq_id)], greedy(10 + 3 * seq_id))
        )
    tokens = tokens_of(engine.steps())
    del engine
    give_memory_back(scale)
    return tokens


def test_recorded_kernel_by_kernel_and_by_torch_the_tokens_are_the_same(tmp_path: Path) -> None:
    scale = Exactly(smoke=False, out=tmp_path)
    recorded = outputs(scale)
    assert recorded == outputs(scale, enforce_eager=True)
    assert recorded == outputs(scale, backend="sdpa")


def test_the_cache_leaves_what_it_must(tmp_path: Path) -> None:
    """A small part may be lost to how memory is cut into pieces."""
    scale = Exactly(smoke=False, out=tmp_path)
    meter = CudaMeter(scale.device)
    engine = Engine.of(scale, SHAPES["25M"], max_num_seqs=10, gpu_memory_utilization=0.5)
    assert engine.num_cache_tokens > 0
    assert torch.cuda.mem_get_info()[0] > 0.48 * meter.total


def test_what_is_copied_to_the_device_is_what_was_there_when_the_copy_was_asked_for() -> None:
    numbers = np.arange(1_000_000, dtype=np.int32)
    copied = to_device(numbers, torch.device("cuda"))
    numbers[:] = 0
    assert copied.sum().item() == sum(range(1_000_000)) % 2**64


def test_nothing_that_is_asked_of_sampling_makes_the_host_wait() -> None:
    pytest.importorskip("triton")
    from app.model.triton.sampling import sample_tokens

    rows = [
        sequence(seed=1),
        sequence(seed=2, top_k=40),
        sequence(seed=3, top_p=0.9),
        sequence(seed=4, top_k=5000, top_p=0.99, min_p=0.001),
        sequence(seed=5, logit_bias=((3, 2.0),), min_tokens=2, stop_token_ids=frozenset({7})),
        sequence([1, 2], (3, 3), seed=6, frequency_penalty=1.0, repetition_penalty=1.2),
    ]
    logits = torch.randn(len(rows), 32_000, device="cuda")
    expected = sample(logits.clone(), rows, None, sample_tokens)  # and what is compiled is compiled
    torch.cuda.set_sync_debug_mode("error")
    try:
        given = sample(logits, rows, None, sample_tokens)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert given.tolist() == expected.tolist()
