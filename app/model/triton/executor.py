"""The executor on Triton's kernels: any model on a CUDA device. Importing this needs no Triton."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec

import torch
from transformers import PreTrainedModel

from app.model.executor import Executor, ModelSetup
from app.model.kv_cache import KVCache
from app.model.runner import Decoder

logger = logging.getLogger("millrace.engine")

AMPERE = (8, 0)
MAX_HEAD_SIZE = 256
"""The largest that the kernels were checked with."""


class TritonExecutor(Executor):
    name = "triton"
    device_types = frozenset({"cuda"})

    def unsupported_reason(self, setup: ModelSetup) -> str | None:
        if setup.quantization != "none":
            return "it does not quantise weights"
        if find_spec("triton") is None:
            return "the triton package is not installed (pip install triton)"
        if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
            return "Triton needs a C compiler, and there is none (install gcc, or name one in CC)"
        return (None if setup.is_named else _unchecked(setup)) or _lack_of_shared_memory(setup)

    def build(
        self,
        setup: ModelSetup,
        model: PreTrainedModel,
        cache: KVCache,
        max_model_len: int,
        report: Callable[[float], None],  # noqa: ARG002
    ) -> Decoder:
        from app.model.triton import fused
        from app.model.triton.decoder import TritonDecoder

        reason = fused.unsupported_reason(setup.facts.config, setup.facts.layers)
        if reason is None:
            return fused.FusedDecoder(model, cache, max_model_len)
        logger.info("the triton backend runs attention alone, and transformers' modules the rest: %s", reason)
        return TritonDecoder(model, cache)


def _unchecked(setup: ModelSetup) -> str | None:
    """What the kernels were never checked with: they run it only if they are asked for by name."""
    if torch.version.hip:
        return "the GPU is not NVIDIA's (--backend triton tries)"
    if torch.cuda.get_device_capability(setup.device) < AMPERE:
        return "the GPU is older than Ampere (--backend triton tries)"
    if any(max(layer.key_size, layer.value_size) > MAX_HEAD_SIZE for layer in setup.facts.layers):
        return f"heads are larger than {MAX_HEAD_SIZE} (--backend triton tries)"
    return None


def _lack_of_shared_memory(setup: ModelSetup) -> str | None:
    from app.model.triton.tiling import DoesNotFit, Heads, check_fit, shared_memory_of

    num_heads: int = setup.facts.config.get_text_config().num_attention_heads
    item_size = setup.dtype.itemsize
    try:
        for layer in set(setup.facts.layers):
            group = num_heads // layer.num_kv_heads
            check_fit(Heads(group, layer.key_size, layer.value_size, item_size), shared_memory_of(setup.device))
    except DoesNotFit as error:
        remedy = " (--dtype bfloat16 takes half)" if item_size > 2 else ""
        return f"no tile of attention fits the GPU: {error}{remedy}"
    return None
