"""From a configuration to an engine that is ready to step, with reports of its progress."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from app.checkpoint.files import BadCheckpoint
from app.checkpoint.inspection import check_model_files
from app.constraints.tokens import TokenTable
from app.engine.constraints import Constraints, no_table
from app.engine.core import EngineCore
from app.engine.decoders import make_decoder, prove_room, step_limits
from app.engine.failures import CannotServe
from app.engine.masking import MaskingRunner
from app.engine.phases import Phases
from app.engine.step_cost import measure_step_cost
from app.logs import LOG_ONLY
from app.messages import EngineLoading, EngineReady, FinishReason, SamplingParams
from app.model.cores import container_cores
from app.model.executors import NoExecutor, Selection, select_executor
from app.model.kv_cache import KVCache
from app.model.loading.configuration import inspect_model, select_device
from app.model.loading.hub import find_model
from app.model.loading.support import UnsupportedModel
from app.model.loading.weights import load_model
from app.model.memory import CacheTooSmall
from app.model.native.huge_pages import ask_for_huge_pages
from app.model.runner import ModelRunner
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence

if TYPE_CHECKING:  # what measures the engine makes settings of its own, without what reads them from elsewhere
    from app.config import Config

logger = logging.getLogger("millrace.engine")


def start_engine(config: Config, report: Callable[[EngineLoading], None]) -> tuple[EngineCore, EngineReady]:
    """Load the model, allocate its cache, and run a first step. Raises CannotServe."""
    keep_freed_memory()
    ask_for_huge_pages()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    phases = Phases(report)
    try:
        return _start(config, phases)
    except (BadCheckpoint, UnsupportedModel, NoExecutor, CacheTooSmall) as error:
        raise CannotServe(str(error)) from error


def _start(config: Config, phases: Phases) -> tuple[EngineCore, EngineReady]:
    device = select_device(config.device)
    torch.set_num_threads(config.threads or int(min(torch.get_num_threads(), container_cores())))
    if not Path(config.model_path).exists():
        phases.begin("downloading the model")
    directory = find_model(config.model_path, config.revision, phases.download)
    check_model_files(directory)
    phases.begin("reading the configuration")
    facts = inspect_model(directory)
    phases.begin("preparing the kernels")  # those in C are compiled here, if the cache has none
    selection = select_executor(facts, device, config.backend, config.dtype, config.quantization, config.block_size)
    phases.begin("loading the weights")
    return make_engine(
        config,
        selection,
        load_model(directory, facts, selection.setup.dtype, device, phases.advance),
        phases,
        partial(read_token_table, directory),
    )


def make_engine(
    config: Config,
    selection: Selection,
    model: PreTrainedModel,
    phases: Phases,
    read_table: Callable[[int], TokenTable] = no_table,
) -> tuple[EngineCore, EngineReady]:
    """Everything after loading the model, to which the caller should keep no reference. Raises CacheTooSmall.

    `read_table`, from the number of logits to the table of tokens, is called when a constraint first asks for it.
    """
    facts, device, dtype = selection.setup.facts, model.device, model.dtype
    num_parameters, vocab_size = model.num_parameters(), model.config.vocab_size
    cache = KVCache(facts.layers, 1, config.block_size, dtype, device)
    decoder, max_model_len = make_decoder(config, selection, model, cache, phases)
    del model
    scheduler = make_scheduler(config, cache.num_blocks)
    overlap = config.overlap == "on" or (config.overlap == "auto" and device.type == "cuda")
    constraints = Constraints(partial(read_table, vocab_size))
    runner = MaskingRunner(ModelRunner(decoder, config.block_size, device), constraints)
    core = EngineCore(scheduler, runner, overlap, constraints)
    phases.begin("warming up")
    warm_up(core, vocab_size, max_model_len)
    if scheduler.speculates:
        step_cost = measure_step_cost(core, min(max_model_len, scheduler.max_num_batched_tokens))
        scheduler.speculation.step_cost = step_cost
        logger.info("speculation: a step costs as much as %.1f tokens more in it", step_cost)
    if device.type == "cuda":
        prove_room(core, step_limits(config, facts, selection.executor))
    # What exists now lives as long as the process, so scanning it for garbage would only cost time.
    gc.collect()
    gc.freeze()
    phases.end()
    ready = EngineReady(
        max_model_len=max_model_len,
        vocab_size=vocab_size,
        block_size=config.block_size,
        num_blocks=cache.num_blocks,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        backend=decoder.name,
        quantization=config.quantization,
        num_threads=torch.get_num_threads(),
        num_parameters=num_parameters,
        model_bytes=decoder.weight_bytes,
        kv_cache_bytes=cache.num_blocks * cache.bytes_per_block,
        phases=phases.seconds,
    )
    logger.info("%s", describe(ready), extra=LOG_ONLY)
    return core, ready


def read_token_table(directory: Path, num_logits: int) -> TokenTable:
    """The model's vocabulary. Raises whatever is wrong with its tokenizer."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    return TokenTable(tokenizer.backend_tokenizer, num_logits)


def make_scheduler(config: Config, num_blocks: int) -> Scheduler:
    return Scheduler(
        BlockPool(num_blocks),
        config.block_size,
        config.max_num_seqs,
        config.max_num_batched_tokens,
        step_cost=1 if config.speculative == "ngram" else 0,
        max_gap_seconds=config.max_gap_seconds,
    )


def describe(ready: EngineReady) -> str:
    """What the operator should know about memory, and the flag that changes it."""
    return (
        f"model {ready.model_bytes / 2**20:,.1f} MiB ({ready.num_parameters / 1e6:,.1f}M parameters, {ready.dtype}"
        + (f", weights in {ready.quantization}" if ready.quantization != "none" else "")
        + f") on {ready.device}, {ready.backend} backend"
        + (f" on {ready.num_threads} threads" if ready.device == "cpu" else "")
        + f"; KV cache {ready.kv_cache_bytes / 2**20:,.1f} MiB holds {ready.num_cache_tokens:,} tokens, "
        f"{ready.num_cache_tokens / ready.max_model_len:,.1f} sequences of {ready.max_model_len:,} "
        "(--kv-cache-memory changes it)"
    )


def warm_up(core: EngineCore, vocab_size: int, max_model_len: int) -> None:
    """Run a short prompt and one decode step, so that the first request does not pay for lazy initialisation.

    Positions stay below `max_model_len`: nothing is made for those beyond. Raises CannotServe if the model's numbers
    are not finite.
    """
    length = max(1, min(core.scheduler.block_size - 2, max_model_len - 1))
    prompt = [token_id % vocab_size for token_id in range(length)]
    core.scheduler.add(Sequence(0, prompt, SamplingParams(max_tokens=min(2, max_model_len), seed=0, temperature=1.0)))
    while core.has_work:
        if FinishReason.ERROR in core.step().finished.values():
            raise CannotServe("the model's logits are not finite, so no token can be sampled: its weights are damaged")


def keep_freed_memory() -> None:
    """Have glibc reuse large freed buffers instead of returning them to the kernel.

    Every activation over its threshold is otherwise mapped, faulted in and unmapped again at each use, which was
    measured to cost several times the work done on it.
    """
    if sys.platform == "linux":
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
