"""A decoder over its cache: what its steps need of a GPU's memory, and what that leaves to the cache."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from app.engine.core import EngineCore
from app.engine.phases import Phases
from app.model.executor import Executor
from app.model.executors import Selection
from app.model.first_steps import compile_kernels
from app.model.graphs import CudaRecorder, DecodeInputs, OnDevice, batch_sizes, record_decoding
from app.model.kv_cache import KVCache
from app.model.loading.configuration import ModelFacts
from app.model.memory import CacheMemory, CacheTooSmall, StepLimits, available_bytes, plan_cache
from app.model.profile import CudaMeter, bytes_for_cache, largest_batch, measure_needs, without_long_contexts
from app.model.runner import Decoder

if TYPE_CHECKING:
    from app.config import Config

logger = logging.getLogger("millrace.engine")


def make_decoder(
    config: Config, selection: Selection, model: PreTrainedModel, cache: KVCache, phases: Phases
) -> tuple[Decoder, int]:
    """The decoder, its cache at full size, and the longest sequence that is served. Raises CacheTooSmall.

    On a GPU the cache gets the memory that steps leave, so the decoder is built and measured before the cache grows.
    """
    facts, device, executor = selection.setup.facts, model.device, selection.executor
    if device.type != "cuda":
        phases.begin("making the cache")
        max_model_len = grow_cache(cache, config, facts, available_bytes(), device)
        return _build(selection, model, cache, max_model_len, phases), max_model_len
    decoder = _build(selection, model, cache, limits_of(config, facts).length, phases)
    available = profile_memory(config, step_limits(config, facts, executor), decoder, device, phases)
    phases.begin("making the cache")
    max_model_len = grow_cache(cache, config, facts, available, device)
    if isinstance(decoder, OnDevice) and not config.enforce_eager:
        phases.begin("recording CUDA graphs")
        decoder = record_graphs(config, decoder, max_model_len, device)
    return decoder, max_model_len


def _build(selection: Selection, model: PreTrainedModel, cache: KVCache, max_model_len: int, phases: Phases) -> Decoder:
    if selection.executor.packs_weights:
        phases.begin("packing the weights")
    return selection.executor.build(selection.setup, model, cache, max_model_len, phases.advance)


def profile_memory(config: Config, limits: StepLimits, decoder: Decoder, device: torch.device, phases: Phases) -> int:
    """Bytes that the cache may take on a CUDA device. Raises CacheTooSmall if steps have too little without one."""
    meter, record = CudaMeter(device), None if config.enforce_eager else CudaRecorder(device)
    try:
        if isinstance(decoder, OnDevice):
            phases.begin("compiling kernels")
            compile_kernels(decoder, config.block_size, limits, device, phases.advance)
        phases.begin("profiling memory")
        needed = measure_needs(decoder, config.block_size, limits, device, meter, record)
    except torch.OutOfMemoryError as error:
        raise CacheTooSmall(
            "the device has too little memory beside the weights: make steps smaller with --max-num-batched-tokens or "
            f"--max-num-seqs: {error}"
        ) from error
    logger.info("steps take up to %.1f MiB of the device's memory", needed / 2**20)
    return bytes_for_cache(meter.free(), meter.total, needed, config.gpu_memory_utilization)


def record_graphs(config: Config, decoder: OnDevice, max_model_len: int, device: torch.device) -> Decoder:
    """The decoder with its decode steps recorded, or the decoder itself if it cannot be recorded."""
    inputs = DecodeInputs(config.max_num_seqs, -(-max_model_len // config.block_size), device)
    recorded = record_decoding(decoder, inputs, batch_sizes(config.max_num_seqs), CudaRecorder(device))
    if recorded is None:
        return decoder
    logger.info("decode steps are recorded for %s sequences", ", ".join(map(str, recorded.sizes)))
    return recorded


def prove_room(core: EngineCore, limits: StepLimits) -> None:
    """Run the largest step beside everything that is allocated, and keep its memory. Raises CacheTooSmall."""
    try:
        core.runner.execute(largest_batch(limits, core.scheduler.block_size)).wait()
    except torch.OutOfMemoryError as error:
        raise CacheTooSmall(
            "the KV cache leaves too little memory for steps: give it less with --kv-cache-memory or "
            f"--gpu-memory-utilization: {error}"
        ) from error


def grow_cache(cache: KVCache, config: Config, facts: ModelFacts, available: int, device: torch.device) -> int:
    """Allocate the cache's blocks. Returns the longest sequence that is served. Raises CacheTooSmall."""
    memory = CacheMemory(available, config.kv_cache_memory, shared_with_others=device.type != "cuda")
    num_blocks, max_model_len = plan_cache(cache.bytes_per_block, config.block_size, memory, limits_of(config, facts))
    cache.resize(num_blocks)
    return max_model_len


def limits_of(config: Config, facts: ModelFacts) -> StepLimits:
    return StepLimits(config.max_num_seqs, config.max_num_batched_tokens, facts.max_model_len, config.max_model_len)


def step_limits(config: Config, facts: ModelFacts, executor: Executor) -> StepLimits:
    """The limits that the memory of steps depends on."""
    limits = limits_of(config, facts)
    return limits if executor.copies_context else without_long_contexts(limits)
