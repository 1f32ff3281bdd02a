"""Real steps through the compiled kernels, instrumented by the sanitizers that are named, on more threads than cores.

python -m tests.sanitized_steps thread      with the sanitizer's library in LD_PRELOAD, as tests/test_sanitizers.py does
"""

from __future__ import annotations

import os
import sys

import torch

from app.engine.core import EngineCore
from app.messages import Generate, SamplingParams
from app.model.native import compiler
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.models import VOCAB_SIZE, make_runner

KINDS = [
    ("Qwen3", torch.float32, "none"),
    ("Mistral", torch.bfloat16, "none"),
    ("Qwen2", torch.float32, "int8"),
    ("Llama", torch.bfloat16, "int4"),
]
PARAMS = [
    SamplingParams(12, temperature=0.0),
    SamplingParams(12, seed=1),
    SamplingParams(12, seed=2, top_k=9, top_p=0.9, min_p=0.01),
    SamplingParams(12, seed=3, top_p=0.7, repetition_penalty=1.2),
]
NUM_BLOCKS, BLOCK_SIZE = 30, 16


def main() -> None:
    compiler.FLAGS = (*compiler.FLAGS, f"-fsanitize={sys.argv[1]}", "-fno-sanitize-recover=all", "-g", "-O1")
    torch.set_num_threads(2 * (os.cpu_count() or 1) + 1)
    for architecture, dtype, quantization in KINDS:
        runner = make_runner(architecture, NUM_BLOCKS, BLOCK_SIZE, native=True, dtype=dtype, quantization=quantization)
        num_steps = num_steps_of(EngineCore(Scheduler(BlockPool(NUM_BLOCKS), BLOCK_SIZE, 5, 40, step_cost=4), runner))
        print(architecture, dtype, quantization, num_steps, "steps")


def num_steps_of(core: EngineCore) -> int:
    """Pieces of prompts, decoding, guesses that are right and wrong, and preemption, until all is said."""
    for seq_id in range(12):
        prompt = [(seq_id + 3 * place) % VOCAB_SIZE for place in range(1 + 9 * seq_id)]
        core.apply(Generate(seq_id, prompt, PARAMS[seq_id % len(PARAMS)]))
    num_steps = 0
    while core.has_work:
        core.step()
        num_steps += 1
    return num_steps


if __name__ == "__main__":
    main()
