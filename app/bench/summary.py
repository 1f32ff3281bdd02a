"""Summarises outcomes in the usual metrics. Latencies are in milliseconds, of successful requests; rates per second."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from app.bench.drive import Run
from app.bench.outcome import BenchError, Outcome


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile with linear interpolation; `values` must be sorted and not empty."""
    position = (len(values) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and percentiles of `count` values; without values there is no Spread."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float | None], scale: float = 1.0) -> Spread | None:
        known = sorted(value * scale for value in values if value is not None)
        if not known:
            return None
        p50, p90, p99 = (percentile(known, percent) for percent in (50, 90, 99))
        return cls(len(known), math.fsum(known) / len(known), p50, p90, p99, known[-1])

    def as_json(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class LatencyTargets:
    """The targets, in milliseconds, that a request must meet to count as good; it must succeed too.

    `itl` limits the 99th percentile of a request's own gaps, `gap` the longest one.
    """

    limits: tuple[tuple[str, float], ...]

    def keeps(self, outcome: Outcome) -> bool:
        return outcome.ok and all(_within(MEASURES[name](outcome), limit) for name, limit in self.limits)

    def describe(self) -> str:
        return ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in self.limits)

    @classmethod
    def parse(cls, text: str) -> LatencyTargets:
        """Read `ttft:500,itl:50`. Raises BenchError."""
        limits = []
        for part in text.split(","):
            name, _, value = part.partition(":")
            try:
                limits.append((name.strip(), float(value)))
            except ValueError:
                raise BenchError(f"--slo: write limits like ttft:500,itl:50 in ms, not {part!r}") from None
            if limits[-1][0] not in MEASURES or not limits[-1][1] > 0:
                raise BenchError(f"--slo: {part!r} is no limit; there are {', '.join(MEASURES)}, each above 0")
        return cls(tuple(limits))


def _within(seconds: float | None, limit_ms: float) -> bool:
    """Whether a latency meets a limit. One that does not exist, such as the gaps of a single token, does."""
    return seconds is None or seconds * 1000 <= limit_ms


def _tail_gap(outcome: Outcome) -> float | None:
    gaps = sorted(outcome.gaps)
    return percentile(gaps, 99) if gaps else None


MEASURES: dict[str, Callable[[Outcome], float | None]] = {
    "ttft": lambda outcome: math.inf if outcome.ttft is None else outcome.ttft,  # without any text, no target is met
    "itl": _tail_gap,
    "gap": lambda outcome: max(outcome.gaps, default=None),
    "tpot": lambda outcome: outcome.tpot,
    "e2e": lambda outcome: outcome.e2e,
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one run. Tokens are those of successful requests."""

    num_sent: int
    num_ok: int
    num_ended_early: int
    num_without_text: int
    seconds: float
    request_throughput: float
    output_throughput: float
    total_throughput: float
    goodput: float | None
    good_share: float
    ttft: Spread | None
    itl: Spread | None
    tpot: Spread | None
    e2e: Spread | None
    lateness: Spread | None
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None
    tokens_per_event: float | None
    client_share: float
    errors: tuple[tuple[str, int], ...]
    finish_reasons: tuple[tuple[str, int], ...]

    @property
    def num_failed(self) -> int:
        return self.num_sent - self.num_ok


def summarize(run: Run, limits: LatencyTargets | None = None) -> Summary:
    """Summarise a run. The requests in `run.beside` are included in the counts of requests, but not in latencies."""
    everything = [*run.outcomes, *run.beside]
    ok = [outcome for outcome in run.outcomes if outcome.ok]
    output = sum(outcome.num_output_tokens for outcome in ok)
    prompt = sum(_prompt_tokens(outcome) for outcome in ok)
    cached = [outcome.num_cached_tokens for outcome in ok if outcome.num_cached_tokens is not None]
    events = sum(len(outcome.text_times) for outcome in ok)
    good = None if limits is None else sum(limits.keeps(outcome) for outcome in run.outcomes)
    per_second = 1 / run.seconds if run.seconds > 0 else 0.0
    return Summary(
        num_sent=len(everything),
        num_ok=sum(outcome.ok for outcome in everything),
        num_ended_early=sum(outcome.ended_early for outcome in everything),
        num_without_text=sum(not outcome.text_times for outcome in ok),
        seconds=run.seconds,
        request_throughput=len(ok) * per_second,
        output_throughput=output * per_second,
        total_throughput=(prompt + output) * per_second,
        goodput=None if good is None else good * per_second,
        good_share=(good or 0) / len(run.outcomes) if run.outcomes else 0.0,
        ttft=Spread.of((outcome.ttft for outcome in ok), 1000),
        itl=Spread.of((gap for outcome in ok for gap in outcome.gaps), 1000),
        tpot=Spread.of((outcome.tpot for outcome in ok), 1000),
        e2e=Spread.of((outcome.e2e for outcome in ok), 1000),
        lateness=Spread.of((one.lateness for one in everything), 1000) if run.stage.concurrency is None else None,
        prompt_tokens=prompt,
        output_tokens=output,
        cached_tokens=sum(cached) if cached else None,
        tokens_per_event=output / events if events else None,
        client_share=run.client_cpu * per_second,
        errors=tuple(Counter(one.error or "" for one in everything if not one.ok).most_common()),
        finish_reasons=tuple(Counter(str(outcome.finish_reason) for outcome in ok).most_common()),
    )


def _prompt_tokens(outcome: Outcome) -> int:
    counted = outcome.num_prompt_tokens
    return outcome.planned.num_prompt_tokens if counted is None else counted
