"""All results of a benchmark, and the facts that describe how it was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from app.bench.caveats import caveats
from app.bench.compare import Measurement, by_load, paired
from app.bench.drive import Run
from app.bench.outcome import Outcome
from app.bench.provenance import Provenance
from app.bench.settings import Settings
from app.bench.summary import LatencyTargets, Spread, summarize
from app.bench.target import Target


@dataclass(frozen=True, slots=True)
class Result:
    """The settings, the servers, and all measurements of a benchmark."""

    settings: Settings
    targets: list[Target]
    provenance: Provenance
    measurements: list[Measurement]
    started_server: bool = False

    @property
    def limits(self) -> LatencyTargets | None:
        return self.settings.limits

    @property
    def runs(self) -> list[tuple[Measurement, Run]]:
        return [(measurement, run) for measurement in self.measurements for run in measurement.runs]

    @property
    def any_succeeded(self) -> bool:
        return any(outcome.ok for _, run in self.runs for outcome in run.outcomes)

    @property
    def title(self) -> str:
        return f"millrace bench: {self.settings.workload}"

    def facts(self) -> list[tuple[str, str]]:
        """Names and values of the circumstances, which a report shows above the numbers."""
        facts = []
        for target in self.targets:
            name = f"server {target.name}" if len(self.targets) > 1 else "server"
            started = " (started for this)" if self.started_server and target is self.targets[0] else ""
            facts += [(name, target.about.describe() + started), ("asked by", target.dialect.describe())]
            facts.append(("prompts", target.prompts.describe()))
        settings = self.settings
        if settings.workload == "trace" and settings.trace is not None:
            facts.append(("trace", f"{settings.trace.name}, {settings.speedup:g} times as fast as it was"))
        else:
            lengths = settings.lengths
            facts.append(("lengths", f"{lengths.prompt} prompt and {lengths.output} output tokens{self._more()}"))
        order = ", A B A B in turn" if len(self.targets) > 1 else ""
        facts.append(("seed", f"{settings.seed}; {settings.repeat} repetition(s), new prompts in each{order}"))
        facts.append(("warm-up", f"{settings.warmup} request(s) to each server, not in the numbers"))
        if self.limits is not None:
            facts.append(("goodput", f"successful requests with {self.limits.describe()}"))
        return facts + self.provenance.lines()

    def _more(self) -> str:
        length = self.targets[0].about.max_model_len
        match self.settings.workload:
            case "interference":
                return f"; the long prompt has {self.settings.long_prompt(length)} tokens"
            case "prefix":
                return f" after a prefix of {self.settings.prefix(length)} tokens, {self.settings.prefixes} prefixes"
            case _:
                return ""

    def as_json(self) -> dict[str, Any]:
        """All results as plain data. Times are in milliseconds; the headers that were sent are omitted."""
        settings = asdict(self.settings)
        settings["trace"] = self.settings.trace.name if self.settings.trace else None
        return {
            "benchmark": self.title,
            "facts": dict(self.provenance.lines()),
            "settings": settings,
            "limits": dict(self.limits.limits) if self.limits else None,
            "servers": [_server_json(target) for target in self.targets],
            "measurements": [self._measurement_json(measurement) for measurement in self.measurements],
            "repetitions": {
                target.name: {
                    load: {series.name: asdict(series) | {"median": series.median} for series in each}
                    for load, each in by_load(self.measurements, target.name, self.limits).items()
                }
                for target in self.targets
            },
            "ratios_a_over_b": {
                load: {pair.ratio.name: {"ratios": pair.ratio.values, "median": pair.ratio.median} for pair in pairs}
                for load, pairs in paired(self.measurements, self.limits).items()
            },
        }

    def _measurement_json(self, measurement: Measurement) -> dict[str, Any]:
        return {
            "server": measurement.server,
            "repetition": measurement.repetition,
            "host": asdict(measurement.host) if measurement.host else None,
            "stages": [self._run_json(run) for run in measurement.runs],
        }

    def _run_json(self, run: Run) -> dict[str, Any]:
        summary = summarize(run, self.limits)
        numbers = {name: getattr(summary, name) for name in summary.__slots__}
        latencies = {f"{name}_ms": numbers.pop(name) for name in ("ttft", "itl", "tpot", "e2e", "lateness")}
        numbers["errors"], numbers["finish_reasons"] = dict(summary.errors), dict(summary.finish_reasons)
        return {
            "load": run.stage.load_text,
            **numbers,
            **{name: spread.as_json() if isinstance(spread, Spread) else None for name, spread in latencies.items()},
            "findings": run.findings,
            "caveats": caveats(run, summary, self.settings.workload),
            "requests": [_outcome_json(outcome) for outcome in (*run.outcomes, *run.beside)],
        }


def _server_json(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        **asdict(target.about),
        "asked_by": target.dialect.describe(),
        "prompts": target.prompts.describe(),
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "at_s": round(outcome.planned.at, 6),
        "label": outcome.planned.label,
        "ok": outcome.ok,
        "error": outcome.error,
        "finish_reason": outcome.finish_reason,
        "prompt_tokens": outcome.num_prompt_tokens,
        "cached_tokens": outcome.num_cached_tokens,
        "output_tokens": outcome.num_output_tokens,
        "late_ms": _ms(outcome.lateness),
        "ttft_ms": _ms(outcome.ttft),
        "tpot_ms": _ms(outcome.tpot),
        "e2e_ms": _ms(outcome.e2e),
        "itl_ms": [_ms(gap) for gap in outcome.gaps],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
