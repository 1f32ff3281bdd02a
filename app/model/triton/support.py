"""What keeps Triton's kernels from a model or a GPU; importing this needs no Triton."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch

from app.model.loading.configuration import ModelFacts

AMPERE = (8, 0)
MAX_HEAD_SIZE = 256
"""For which the kernels were checked."""


def find_obstacle(facts: ModelFacts, device: torch.device, dtype: torch.dtype, is_asked_for: bool) -> str | None:
    """Why the kernels cannot run in this dtype on a GPU, or should not unless asked for, and what would help."""
    if device.type != "cuda":
        return "there is no CUDA device"
    if find_spec("triton") is None:
        return "the triton package is not installed (pip install triton)"
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        return "Triton needs a C compiler, and there is none (install gcc, or name one in CC)"
    return (None if is_asked_for else _doubt(facts, device)) or _lack_of_room(facts, device, dtype)


def _doubt(facts: ModelFacts, device: torch.device) -> str | None:
    """What the kernels were not checked for."""
    if torch.version.hip:
        return "the GPU is not NVIDIA's (--backend triton tries)"
    if torch.cuda.get_device_capability(device) < AMPERE:
        return "the GPU is older than Ampere (--backend triton tries)"
    if any(max(layer.key_size, layer.value_size) > MAX_HEAD_SIZE for layer in facts.layers):
        return f"heads are larger than {MAX_HEAD_SIZE} (--backend triton tries)"
    return None


def _lack_of_room(facts: ModelFacts, device: torch.device, dtype: torch.dtype) -> str | None:
    from app.model.triton.tiling import DoesNotFit, Heads, check_fit, shared_memory_of

    num_heads: int = facts.config.get_text_config().num_attention_heads
    try:
        for layer in set(facts.layers):
            group = num_heads // layer.num_kv_heads
            check_fit(Heads(group, layer.key_size, layer.value_size, dtype.itemsize), shared_memory_of(device))
    except DoesNotFit as error:
        helps = " (--dtype bfloat16 takes half)" if dtype.itemsize > 2 else ""
        return f"no tile of attention fits the GPU: {error}{helps}"
    return None
