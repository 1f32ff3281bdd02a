"""The registry of executors, and which of them runs a model.

To add one, write a module with its `Executor`, and put it below among those that are slower.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from app.model.executor import Executor, ModelSetup
from app.model.loading.configuration import ModelFacts, select_dtype
from app.model.modules.executor import ModuleExecutor
from app.model.native.executor import NativeExecutor
from app.model.triton.executor import TritonExecutor

logger = logging.getLogger("millrace.engine")

EXECUTORS: tuple[Executor, ...] = (
    NativeExecutor(),
    TritonExecutor(),
    ModuleExecutor(),
)
"""The fastest first. Where they run on the device, `auto` takes the first that supports the model."""


class NoExecutor(ValueError):
    """What was asked for cannot be run so; the message names the options at fault and what would work."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The executor that runs a model, and how it does."""

    executor: Executor
    setup: ModelSetup


def executor_named(name: str) -> Executor:
    return next(executor for executor in EXECUTORS if executor.name == name)


def select_executor(
    facts: ModelFacts, device: torch.device, backend: str, dtype: str, quantization: str, block_size: int
) -> Selection:
    """The executor that `backend` names, or the fastest that can run this; `dtype` may be `auto`. Raises NoExecutor.

    A line of the log says which faster ones cannot run it, and why.
    """
    rejected: dict[str, str] = {}
    preferred = None
    for executor in EXECUTORS:
        is_named = backend == executor.name
        if not is_named and (backend != "auto" or not executor.runs_on(device)):
            continue
        of_this = select_dtype(dtype, facts.config, device, executor.keeps_bfloat16)
        preferred = preferred or of_this
        setup = ModelSetup(facts, device, of_this, block_size, quantization, is_named)
        reason = _unsupported_reason(executor, setup)
        if reason is None:
            if rejected:
                _report_slower(executor.name, rejected, of_this, preferred)
            return Selection(executor, setup)
        rejected[executor.name] = reason
    raise NoExecutor(_refusal(backend, quantization, rejected))


def _unsupported_reason(executor: Executor, setup: ModelSetup) -> str | None:
    if not executor.runs_on(setup.device):
        types = " and ".join(sorted(executor.device_types))
        return f"it runs on {types} only, and the device is {setup.device.type}"
    return executor.unsupported_reason(setup)


def _report_slower(name: str, rejected: dict[str, str], dtype: torch.dtype, preferred: torch.dtype) -> None:
    """`preferred`: the dtype that the fastest executor would have run the model in."""
    numbers = f" in {dtype} instead of {preferred}".replace("torch.", "") if dtype != preferred else ""
    reasons = "; ".join(f"{faster}, which is faster, cannot: {reason}" for faster, reason in rejected.items())
    logger.warning("the %s backend runs the model%s, since %s", name, numbers, reasons)


def _refusal(backend: str, quantization: str, rejected: dict[str, str]) -> str:
    options = (("--backend", backend, "auto"), ("--quantization", quantization, "none"))
    given = [option for option in options if option[1] != option[2]]
    asked, defaults = (" ".join(f"{option[0]} {option[i]}" for option in given) for i in (1, 2))
    reasons = rejected.values() if backend != "auto" else (f"{name}: {reason}" for name, reason in rejected.items())
    return f"{asked} cannot run this model ({'; '.join(reasons)}); use {defaults} instead"
