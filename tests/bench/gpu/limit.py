"""The engine with its cache full, every sequence at its most costly: nothing may run out of memory."""

from __future__ import annotations

import torch

from app.model.profile import EVERYTHING
from tests.bench.gpu.engine import Engine
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale


def measure(scale: Scale, tell: Tell) -> None:
    """Prompts that fill the cache, prompt logprobs of some, and sampling from the whole vocabulary."""
    # None ends before the last prompt is computed: 8,192 tokens a step fill the cache in half as many steps.
    num_seqs, num_steps = scale.of(256, 4), scale.of(384, 3)
    engine = Engine.of(
        scale,
        scale.shape("0.6B"),
        max_num_seqs=num_seqs,
        max_num_batched_tokens=scale.of(8192, 16),
        gpu_memory_utilization=0.95,
    )
    length = min(scale.of(32_768, 60), engine.num_cache_tokens // num_seqs - num_steps)
    costly = {"temperature": EVERYTHING.temperature, "top_p": EVERYTHING.top_p, "logprobs": 20}
    for index in range(num_seqs):
        asked = {"prompt_logprobs": 20} if index % 16 == 0 else {}
        engine.add(length if index else scale.of(length, 100), max_tokens=num_steps, **costly, **asked)
    usage, least_free = 0.0, float("inf")
    while engine.core.has_work:
        stats = engine.core.step().stats
        usage = max(usage, 1 - stats.num_free_blocks / stats.num_blocks)
        if scale.device.type == "cuda":
            least_free = min(least_free, torch.cuda.mem_get_info()[0] / 2**30)
    tell(
        Figure(
            "limit", "blocks in use at most, and nothing ran out", (usage,), "of all", at_least=scale.of(90, 1) / 100
        )
    )
    if scale.device.type == "cuda":
        tell(Figure("limit", "memory left to others at least", (least_free,), "GiB"))
