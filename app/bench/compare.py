"""Compares repetitions: series of each number and, for two servers that took turns, paired ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from app.bench.drive import Run
from app.bench.host import HostSpeed
from app.bench.summary import LatencyTargets, Spread, summarize


@dataclass(frozen=True, slots=True)
class Measurement:
    """All stages of one repetition on one server, and the speed of the machine right before it."""

    server: str
    repetition: int
    runs: list[Run]
    host: HostSpeed | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one number, one per repetition."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Paired:
    """One number on servers A and B, and the ratios A/B, each pair measured in the same repetition."""

    a: Series
    b: Series
    ratio: Series


def metrics_of(run: Run, limits: LatencyTargets | None) -> dict[str, float]:
    """The numbers worth comparing, by their names in reports."""
    summary = summarize(run, limits)
    metrics = dict(run.findings)
    metrics["requests/s"] = summary.request_throughput
    metrics["output tokens/s"] = summary.output_throughput
    if summary.goodput is not None:
        metrics["goodput, requests/s"] = summary.goodput
    spreads = (("TTFT", summary.ttft), ("ITL", summary.itl), ("TPOT", summary.tpot), ("E2E", summary.e2e))
    for name, spread in spreads:
        if spread is not None:
            metrics |= _points(name, spread)
    return metrics


def _points(name: str, spread: Spread) -> dict[str, float]:
    return {
        f"{name} mean, ms": spread.mean,
        f"{name} p50, ms": spread.p50,
        f"{name} p99, ms": spread.p99,
    }


def by_load(measurements: Sequence[Measurement], server: str, limits: LatencyTargets | None) -> dict[str, list[Series]]:
    """All series of one server by load, in the order of the stages."""
    collected: dict[str, dict[str, list[float]]] = {}
    for measurement in measurements:
        if measurement.server != server:
            continue
        for run in measurement.runs:
            named = collected.setdefault(run.stage.load_text, {})
            for name, value in metrics_of(run, limits).items():
                named.setdefault(name, []).append(value)
    return {load: [Series(name, tuple(values)) for name, values in named.items()] for load, named in collected.items()}


def paired(measurements: Sequence[Measurement], limits: LatencyTargets | None) -> dict[str, list[Paired]]:
    """The ratios A/B for each load that both servers had, from the repetitions in which both have the number."""
    pairs: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for a in (one for one in measurements if one.server == "A"):
        b = next((one for one in measurements if one.server == "B" and one.repetition == a.repetition), None)
        theirs = {run.stage.load_text: metrics_of(run, limits) for run in b.runs} if b else {}
        for run in a.runs:
            load, other = run.stage.load_text, theirs.get(run.stage.load_text, {})
            for name, value in metrics_of(run, limits).items():
                if other.get(name):
                    pairs.setdefault(load, {}).setdefault(name, []).append((value, other[name]))
    return {load: [_pair(name, values) for name, values in named.items()] for load, named in pairs.items()}


def _pair(name: str, values: list[tuple[float, float]]) -> Paired:
    ours, theirs = zip(*values, strict=True)
    ratios = tuple(a / b for a, b in values)
    return Paired(Series(name, ours), Series(name, theirs), Series(name, ratios))
