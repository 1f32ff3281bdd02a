"""Turns steps into numbers: times, and how close they come to what the machine can do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.bench.ceilings import Ceilings
from app.bench.engine.engine import TimedStep
from app.bench.engine.settings import Load
from app.bench.summary import percentile
from app.model.cost import ModelCost

PARTS: dict[str, Callable[[TimedStep], float]] = {
    "schedule": lambda step: step.stats.schedule_seconds,
    "inputs": lambda step: step.stats.input_seconds,
    "forward": lambda step: step.stats.forward_seconds,
    "sample": lambda step: step.stats.sample_seconds,
    "update": lambda step: step.stats.update_seconds,
}
"""The parts of a step's time, in the order of the step."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of times in seconds."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        ordered = sorted(values)
        return cls(*(percentile(ordered, percent) for percent in (10, 50, 90)))

    def as_json(self) -> dict[str, float]:
        return {"p10": self.p10, "p50": self.p50, "p90": self.p90}


@dataclass(frozen=True, slots=True)
class Roofline:
    """Lower bounds of a step's time in seconds, by what it reads and by what it computes (Williams et al. 2009)."""

    memory_seconds: float
    arithmetic_seconds: float

    @property
    def seconds(self) -> float:
        return max(self.memory_seconds, self.arithmetic_seconds)

    @property
    def bound(self) -> str:
        return "memory" if self.memory_seconds >= self.arithmetic_seconds else "arithmetic"


@dataclass(frozen=True, slots=True)
class Costs:
    """The model's costs and the machine's ceilings.

    `cache_bytes` is the size of a number in the KV cache, `factors` the type in which weights are stored.
    """

    model: ModelCost
    cache_bytes: float
    ceilings: Ceilings
    factors: str

    def bytes_of(self, contexts: Sequence[int]) -> float:
        """The bytes that a decode step reads: the weights, and the keys and values of its contexts."""
        return self.model.weight_bytes(len(contexts)) + self.model.cache_elements(contexts) * self.cache_bytes

    def operations_of(self, contexts: Sequence[int]) -> float:
        """The number of multiplications and additions in a decode step."""
        return self.model.operations(contexts, num_logits=len(contexts))

    @property
    def arithmetic(self) -> float:
        """The ceiling in operations per second for products with the weights' type."""
        return self.ceilings.product_for(self.factors)[1].median

    def roofline(self, num_bytes: float, operations: float) -> Roofline:
        return Roofline(num_bytes / self.ceilings.bandwidth.median, operations / self.arithmetic)


@dataclass(frozen=True, slots=True)
class Decode:
    """The decode steps of one load. Rates are at the median step time."""

    load: Load
    context: float
    step: Quantiles
    parts: dict[str, float]
    num_bytes: float
    operations: float
    roofline: Roofline

    @classmethod
    def of(cls, load: Load, steps: Sequence[TimedStep], costs: Costs) -> Decode:
        """Bytes, operations and contexts are means over the steps; the parts of a step are medians."""
        num_bytes = math.fsum(costs.bytes_of(step.contexts) for step in steps) / len(steps)
        operations = math.fsum(costs.operations_of(step.contexts) for step in steps) / len(steps)
        contexts = [context for step in steps for context in step.contexts]
        return cls(
            load=load,
            context=math.fsum(contexts) / len(contexts),
            step=Quantiles.of([step.seconds for step in steps]),
            parts={name: Quantiles.of([part(step) for step in steps]).p50 for name, part in PARTS.items()},
            num_bytes=num_bytes,
            operations=operations,
            roofline=costs.roofline(num_bytes, operations),
        )

    @property
    def tokens_per_second(self) -> float:
        return self.load.num_streams / self.step.p50

    @property
    def bandwidth(self) -> float:
        return self.num_bytes / self.step.p50

    @property
    def arithmetic(self) -> float:
        return self.operations / self.step.p50

    @property
    def bandwidth_share(self) -> float:
        """The fraction of the bandwidth ceiling that is reached; above 1 if the data stays in a cache."""
        return self.roofline.memory_seconds / self.step.p50

    @property
    def arithmetic_share(self) -> float:
        return self.roofline.arithmetic_seconds / self.step.p50

    def as_json(self) -> dict[str, Any]:
        return {
            "streams": self.load.num_streams,
            "prompt_tokens": self.load.prompt_tokens,
            "steps": self.load.num_steps,
            "mean_context": self.context,
            "step_seconds": self.step.as_json(),
            "tokens_per_second": self.tokens_per_second,
            "bytes_per_step": self.num_bytes,
            "operations_per_step": self.operations,
            "bytes_per_second": self.bandwidth,
            "operations_per_second": self.arithmetic,
            "share_of_bandwidth": self.bandwidth_share,
            "share_of_arithmetic": self.arithmetic_share,
            "bound": self.roofline.bound,
            "bound_seconds": self.roofline.seconds,
            "memory_seconds": self.roofline.memory_seconds,
            "arithmetic_seconds": self.roofline.arithmetic_seconds,
            "parts_seconds": self.parts,
        }


@dataclass(frozen=True, slots=True)
class Prefill:
    """The prefill of one prompt length, measured several times."""

    num_tokens: int
    num_steps: int
    total: Quantiles
    operations: float
    arithmetic_share: float

    @classmethod
    def of(cls, num_tokens: int, runs: Sequence[Sequence[TimedStep]], costs: Costs) -> Prefill:
        """Operations are counted with the logits of the last token only."""
        total = Quantiles.of([math.fsum(step.seconds for step in run) for run in runs])
        operations = costs.model.operations(range(1, num_tokens + 1), num_logits=1)
        return cls(num_tokens, len(runs[0]), total, operations, operations / costs.arithmetic / total.p50)

    @property
    def tokens_per_second(self) -> float:
        return self.num_tokens / self.total.p50

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.num_tokens,
            "steps": self.num_steps,
            "seconds": self.total.as_json(),
            "tokens_per_second": self.tokens_per_second,
            "operations": self.operations,
            "operations_per_second": self.operations / self.total.p50,
            "share_of_arithmetic": self.arithmetic_share,
        }
