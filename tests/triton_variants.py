"""Which kernels a start makes ready for a model, and which later steps would have to compile, as JSON lines.

python -m tests.triton_variants fused Qwen3

Nothing is compiled or computed: what Triton would look for among the kernels that it has is noted. The chip is one that
has as many multiprocessors and as much memory as an H200.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from itertools import product
from random import Random
from types import SimpleNamespace
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from app.engine.core import EngineCore
from app.engine.startup import warm_up
from app.messages import SamplingParams
from app.model import device_batch
from app.model.first_steps import GREEDY, compile_kernels, row_of
from app.model.graphs import DecodeInputs, OnDevice, batch_sizes, record_decoding
from app.model.memory import StepLimits
from app.model.profile import measure_needs, without_long_contexts
from app.model.runner import ModelRunner
from app.model.sampling import draw
from app.model.triton import tiling
from app.scheduler.batch import Admission, ScheduledBatch
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.models import VOCAB_SIZE, make_runner
from tests.test_profile import CountingDevice
from tests.triton_compile import HOPPER, WARP

CPU = torch.device("cpu")
NUM_CORES = 132
NUM_STEPS = 100
MAX_RECORDINGS = 99
LONG = 128
"""Tokens of a prompt that is attended to as a whole: fewer than in truth, since these models' positions are few."""

NUM_CANDIDATES = 16
"""For the same reason fewer, of their vocabulary."""

NUCLEUS = SamplingParams(max_tokens=1, top_p=0.9)
LIMITS = (StepLimits(1, 64, 256), StepLimits(4, 200, 256), StepLimits(256, 2048, 256))


@dataclass
class Asked:
    """Kernels that were asked for, by what Triton tells them apart by."""

    kernels: dict[str, str] = field(default_factory=dict)

    def note(self, *, key: Any, fn: Any, compile: dict[str, Any], **_: Any) -> bool:
        """Triton's hook before it compiles; True is that it need not, and then nothing is launched either."""
        names = fn.jit_function.arg_names
        constants = {names[place]: value for (place,), value in compile["constants"].items()}
        self.kernels[str(key)] = f"{fn.name} {constants}"
        return True


def start(runner: ModelRunner, limits: StepLimits, is_recorded: bool) -> None:
    """What `app.engine.startup.make_engine` has a decoder do on a GPU."""
    device, decoder = CountingDevice(0, 0, 0, [0] * MAX_RECORDINGS), runner.decoder
    assert isinstance(decoder, OnDevice)
    step_limits = without_long_contexts(limits)
    compile_kernels(decoder, runner.block_size, step_limits, CPU, lambda _: None)
    measure_needs(decoder, runner.block_size, step_limits, CPU, device, device.record if is_recorded else None)
    if is_recorded:
        sizes = batch_sizes(limits.max_num_seqs)
        record_decoding(decoder, DecodeInputs(sizes[-1], limits.length // runner.block_size, CPU), sizes, device.record)
    pool = BlockPool(limits.length // runner.block_size)
    scheduler = Scheduler(pool, runner.block_size, limits.max_num_seqs, limits.max_num_batched_tokens)
    warm_up(EngineCore(scheduler, runner), VOCAB_SIZE, limits.length)


def later_steps(limits: StepLimits, block_size: int) -> Iterator[ScheduledBatch]:
    """Decoding rows, prompts, pieces of prompts and guesses, of any number and length."""
    random = Random(0)
    for _ in range(NUM_STEPS):
        left, lengths, params = limits.max_num_batched_tokens, [], random.choice((NUCLEUS, GREEDY))
        for _ in range(int(limits.max_num_seqs ** random.random())):
            end = int(min(left, limits.length) ** random.random())
            lengths.append((random.choice((1, 1, min(end, 5), end)), end))
            left -= lengths[-1][0]
            if not left:
                break
        lengths.sort(key=lambda each: each[0] > 1)
        yield ScheduledBatch.of([row_of(*each, block_size, params=params) for each in lengths], {}, Admission())


def told_of(runner: ModelRunner, limits: StepLimits, is_recorded: bool) -> dict[str, Any]:
    at_start, later = Asked(), Asked()
    with torch.inference_mode():
        knobs.runtime.jit_cache_hook = at_start.note
        start(runner, limits, is_recorded)
        knobs.runtime.jit_cache_hook = later.note
        for batch in later_steps(limits, runner.block_size):
            runner.execute(batch)
    return {
        "at_start": len(at_start.kernels),
        "later": len(later.kernels),
        "missing": [later.kernels[key] for key in later.kernels.keys() - at_start.kernels],
    }


def main(backend: str, architecture: str) -> None:
    target = GPUTarget("cuda", HOPPER, WARP)
    driver.set_active(
        SimpleNamespace(get_current_device=lambda: 0, get_current_stream=lambda _: 0, get_current_target=lambda: target)
    )
    tiling._num_cores = lambda _: NUM_CORES
    device_batch.LONG, draw.NUM_CANDIDATES = LONG, NUM_CANDIDATES
    for block_size, limits, is_recorded in product((16, 64), LIMITS, (True, False)):
        runner = make_runner(architecture, 1, block_size, dtype=torch.bfloat16, backend=backend)
        told = told_of(runner, limits, is_recorded)
        print(json.dumps({"block_size": block_size, "limits": astuple(limits), "recorded": is_recorded, **told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
