"""Which of torch's decoders runs a model, what its steps need on a GPU, and what that leaves to the cache."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from app.engine.core import EngineCore
from app.engine.phases import Phases
from app.model.first_steps import compile_kernels
from app.model.graphs import CudaRecorder, DecodeInputs, OnDevice, batch_sizes, record_decoding
from app.model.kv_cache import KVCache
from app.model.loading.configuration import ModelFacts
from app.model.memory import CacheMemory, CacheTooSmall, Limits, available_bytes, plan_cache
from app.model.modules.decoder import ModuleDecoder
from app.model.profile import CudaMeter, bytes_for_cache, largest_batch, measure_needs, without_long_contexts
from app.model.runner import Decoder
from app.model.triton.support import find_obstacle

if TYPE_CHECKING:
    from app.config import Config

logger = logging.getLogger("millrace.engine")


def run_by_torch(
    config: Config, facts: ModelFacts, model: PreTrainedModel, cache: KVCache, phases: Phases
) -> tuple[Decoder, int]:
    """A decoder, and the longest sequence that is served. On a GPU the cache gets what steps leave.

    Raises CacheTooSmall.
    """
    decoder, available = choose_decoder(config, facts, model, cache), available_bytes()
    if model.device.type == "cuda":
        available = profile_memory(config, facts, decoder, model.device, phases)
    phases.begin("making the cache")
    max_model_len = grow_cache(cache, config, facts, available, model.device)
    if isinstance(decoder, OnDevice) and not config.enforce_eager:
        phases.begin("recording CUDA graphs")
        decoder = record_graphs(config, decoder, max_model_len, model.device)
    return decoder, max_model_len


def choose_decoder(config: Config, facts: ModelFacts, model: PreTrainedModel, cache: KVCache) -> Decoder:
    """Triton's kernels where they are asked for, or where they run on a GPU: they are the fastest that there is."""
    if config.backend == "triton":
        return _triton_decoder(config, facts, model, cache)
    if config.backend != "auto" or model.device.type != "cuda":
        return ModuleDecoder(model, cache)
    obstacle = find_obstacle(facts, model.device, model.dtype, is_asked_for=False)
    if obstacle is None:
        return _triton_decoder(config, facts, model, cache)
    logger.warning("the sdpa backend runs, since triton, which is faster, cannot: %s", obstacle)
    return ModuleDecoder(model, cache)


def _triton_decoder(config: Config, facts: ModelFacts, model: PreTrainedModel, cache: KVCache) -> Decoder:
    from app.model.triton import fused
    from app.model.triton.decoder import TritonDecoder

    if fused.applies(facts.config, facts.layers):
        return fused.FusedDecoder(model, cache, limits_of(config, facts).length)
    return TritonDecoder(model, cache)


def profile_memory(config: Config, facts: ModelFacts, decoder: Decoder, device: torch.device, phases: Phases) -> int:
    """Bytes that the cache may take on a CUDA device. Raises CacheTooSmall if steps have too little without one."""
    meter, record = CudaMeter(device), None if config.enforce_eager else CudaRecorder(device)
    limits = step_limits(config, facts, decoder)
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
    """The decoder with its decode steps recorded, or as it was if it cannot be recorded."""
    inputs = DecodeInputs(config.max_num_seqs, -(-max_model_len // config.block_size), device)
    recorded = record_decoding(decoder, inputs, batch_sizes(config.max_num_seqs), CudaRecorder(device))
    if recorded is None:
        return decoder
    logger.info("decode steps are recorded for %s sequences", ", ".join(map(str, recorded.sizes)))
    return recorded


def prove_room(core: EngineCore, limits: Limits) -> None:
    """Take the largest step beside everything that has been made, and keep its memory. Raises CacheTooSmall."""
    try:
        core.runner.execute(largest_batch(limits, core.scheduler.block_size)).wait()
    except torch.OutOfMemoryError as error:
        raise CacheTooSmall(
            "the KV cache leaves too little memory for steps: give it less with --kv-cache-memory or "
            f"--gpu-memory-utilization: {error}"
        ) from error


def grow_cache(cache: KVCache, config: Config, facts: ModelFacts, available: int, device: torch.device) -> int:
    """Give the cache its blocks. Returns the longest sequence that is served. Raises CacheTooSmall."""
    memory = CacheMemory(available, config.kv_cache_memory, shared_with_others=device.type != "cuda")
    num_blocks, max_model_len = plan_cache(cache.bytes_per_block, config.block_size, memory, limits_of(config, facts))
    cache.resize(num_blocks)
    return max_model_len


def limits_of(config: Config, facts: ModelFacts) -> Limits:
    return Limits(config.max_num_seqs, config.max_num_batched_tokens, facts.max_model_len, config.max_model_len)


def step_limits(config: Config, facts: ModelFacts, decoder: Decoder) -> Limits:
    """Those that the memory of steps depends on."""
    limits = limits_of(config, facts)
    return without_long_contexts(limits) if decoder.name == "triton" else limits
