"""How much device memory steps take beside weights and cache, measured by running the largest step before there is one.

The cache then gets what is left, so that no later request can run out of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from app.messages import SamplingParams
from app.model.first_steps import row_of
from app.model.graphs import DecodeInputs, OnDevice, Recorder, Run, batch_sizes, record_decoding
from app.model.memory import StepLimits
from app.model.runner import Decoder, ModelRunner
from app.scheduler.batch import Admission, ScheduledBatch

USUAL_CONTEXT = 1024
"""Context length of most rows of the largest step. What attention takes for them grows with all contexts together, up
to a limit (`app.model.modules.sdpa.MAX_GATHERED_TOKENS`), or not at all."""

EVERYTHING = SamplingParams(
    max_tokens=1,
    temperature=1e6,  # all tokens equally likely, so that none is left out
    top_p=0.99,
    min_p=1e-9,
    logprobs=20,
    prompt_logprobs=20,
)
"""The sampling parameters that take the most memory."""


class Meter(Protocol):
    """Measures a device's memory, in bytes."""

    @property
    def total(self) -> int: ...

    def free(self) -> int:
        """What is free once torch has released the memory that it caches."""

    def growth(self, run: Callable[[], object]) -> int:
        """The most memory that torch additionally takes while `run` runs."""


class CudaMeter:
    """Measures a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def total(self) -> int:
        return torch.cuda.mem_get_info(self._device)[1]

    def free(self) -> int:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self._device)[0]

    def growth(self, run: Callable[[], object]) -> int:
        self.free()
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_reserved(self._device)
        run()
        return torch.cuda.max_memory_reserved(self._device) - before


@dataclass(slots=True)
class MeteredRecorder:
    """Notes how much memory each recording took and keeps."""

    record: Recorder
    meter: Meter
    taken: list[int] = field(default_factory=list)

    def __call__(self, run: Run) -> Run:
        before = self.meter.free()
        replay = self.record(run)
        self.taken.append(before - self.meter.free())
        return replay

    def total_of(self, num_recordings: int) -> int:
        """Bytes of this many, from the largest down: they share memory, and each adds no more than the second."""
        return sum(self.taken) + max(0, num_recordings - len(self.taken)) * (self.taken[-1] if self.taken else 0)


def bytes_for_cache(free: int, total: int, needed: int, utilization: float) -> int:
    """Free memory beside the weights, less what steps need, less the share that is left to others."""
    return free - needed - int((1 - utilization) * total)


def measure_needs(
    decoder: Decoder, block_size: int, limits: StepLimits, device: torch.device, meter: Meter, record: Recorder | None
) -> int:
    """The most bytes that a decoder's steps take over a cache of one block, plus the recordings of its decode steps."""
    runner = ModelRunner(decoder, block_size, device)
    batch = largest_batch(limits, block_size)
    activations = meter.growth(lambda: runner.execute(batch).wait())
    if record is None or not isinstance(decoder, OnDevice):
        return activations
    sizes = batch_sizes(limits.max_num_seqs)
    metered = MeteredRecorder(record, meter)
    record_decoding(decoder, DecodeInputs(sizes[-1], 1, device), sizes[-2:], metered)
    return activations + metered.total_of(len(sizes))


def without_long_contexts(limits: StepLimits) -> StepLimits:
    """Limits for attention that reads the cache in place: long contexts take time at the start, and no more memory."""
    enough = max(USUAL_CONTEXT, limits.max_num_batched_tokens)
    return replace(limits, max_model_len=min(limits.length, enough))


def largest_batch(limits: StepLimits, block_size: int) -> ScheduledBatch:
    """The step that takes the most memory: every token of the budget, at the end of the longest contexts, all sequences
    sampled from the whole vocabulary, and everything reported. All blocks are block 0."""
    rows = []
    left = limits.max_num_batched_tokens - limits.max_num_seqs
    for seq_id in reversed(range(limits.max_num_seqs)):
        usual = USUAL_CONTEXT if seq_id < limits.max_num_seqs - 2 else limits.length
        end = min(limits.length, usual)
        num_tokens = 1 + min(left, end - 1)
        left -= num_tokens - 1
        rows.append(row_of(num_tokens, end, block_size, seq_id, EVERYTHING))
    return ScheduledBatch.of(rows, {}, Admission())
