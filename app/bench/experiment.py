"""One repetition of a workload on one server: its stages in turn, and the findings of the workload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from app.bench.drive import Run, drive
from app.bench.interference import interfere
from app.bench.outcome import BenchError
from app.bench.progress import Progress
from app.bench.settings import Settings
from app.bench.summary import Spread, summarize
from app.bench.target import Target
from app.bench.trace import read_trace
from app.bench.workload import PlannedRequest, Stage, closed_loop, fit, poisson, shared_prefixes

FALLEN = 0.9
"""A ramp ends when goodput is below this share of the best so far."""


async def warm_up(target: Target, settings: Settings) -> None:
    """Send requests that are not measured. Raises BenchError if one fails, since measuring would be pointless."""
    for number in range(settings.warmup):
        lengths = settings.lengths
        planned = PlannedRequest(f"{settings.seed}/warmup{number}", lengths.prompt, lengths.output)
        [fitted], _ = fit([planned], target.about.max_model_len)
        outcome = await target.ask(fitted)
        if not outcome.ok:
            raise BenchError(f"the warm-up request failed at {target.about.url}: {outcome.error}")


async def experiment(target: Target, settings: Settings, repetition: int, progress: Progress) -> list[Run]:
    """Run all stages of the workload. Each repetition has prompts of its own, so that no cache contains them."""
    seed = f"{settings.seed}/{repetition}"
    settings.check_lengths(target.about.max_model_len)
    if settings.workload == "interference":
        return [await interfere(target, settings, streams, seed, progress) for streams in settings.streams]
    if settings.workload == "ramp":
        return [run async for run in ramp(target, settings, seed, progress)]
    runs = []
    for stage, notes in plan(settings, target.about.max_model_len, seed):
        run = await drive(stage, target, progress)
        run.notes += notes
        _find(run, settings.workload)
        runs.append(run)
    return runs


def plan(settings: Settings, max_model_len: int | None, seed: str) -> list[tuple[Stage, list[str]]]:
    """The stages of a workload that is known in advance, each with notes on what had to be changed."""
    lengths = settings.lengths
    match settings.workload:
        case "single":
            stages = [closed_loop(1, settings.num_requests(1), lengths, seed)]
        case "streams":
            stages = [closed_loop(n, settings.num_requests(n), lengths, seed) for n in settings.streams]
        case "poisson":
            stages = [poisson(rate, settings.num_requests(rate), lengths, seed) for rate in settings.rate]
        case "prefix":
            stages = [shared_prefixes(settings.prefixes, 3, settings.prefix(max_model_len), lengths, seed)]
        case _:
            assert settings.trace is not None
            return [_fitted(read_trace(settings.trace, seed, settings.speedup, settings.limit), max_model_len)]
    return [(stage, []) for stage in stages]


async def ramp(target: Target, settings: Settings, seed: str, progress: Progress) -> AsyncIterator[Run]:
    """Run stages of a rising rate, until goodput falls or `stages` have run. The findings of the last name the knee."""
    best, knee, rate = 0.0, 0.0, settings.rate[0]
    for number in range(settings.stages):
        stage = poisson(rate, settings.num_requests(rate), settings.lengths, f"{seed}/{number}")
        run = await drive(stage, target, progress)
        goodput = summarize(run, settings.limits).goodput or 0.0
        if goodput > best:
            best, knee = goodput, rate
        fallen = goodput < FALLEN * best or goodput == 0
        if fallen or number == settings.stages - 1:
            run.findings |= {"knee, requests/s": knee, "goodput at the knee, requests/s": best}
            if not fallen:
                run.notes.append("goodput has not fallen yet, so the knee is higher; raise --rate or --stages")
            yield run
            return
        yield run
        rate *= settings.ramp_factor


def _fitted(stage: Stage, max_model_len: int | None) -> tuple[Stage, list[str]]:
    requests, num_cut = fit(stage.requests, max_model_len)
    notes = [f"{num_cut} of {len(requests)} prompts were cut to the server's {max_model_len} tokens"] if num_cut else []
    return replace(stage, requests=requests), notes


def _find(run: Run, workload: str) -> None:
    """Add the findings of the workloads `single` and `prefix` to the latencies that every workload has."""
    ok = [outcome for outcome in run.outcomes if outcome.ok]
    if workload == "single":
        tpot = Spread.of(outcome.tpot for outcome in ok)
        if tpot and tpot.p50 > 0:  # it is 0 if all tokens of a reply arrive together
            run.findings["decode, tokens/s"] = 1 / tpot.p50
        rates = [
            (outcome.num_prompt_tokens or outcome.planned.num_prompt_tokens) / outcome.ttft
            for outcome in ok
            if outcome.ttft
        ]
        if prefill := Spread.of(rates):
            run.findings["prefill, tokens/s"] = prefill.p50
    elif workload == "prefix":
        first = Spread.of((outcome.ttft for outcome in ok if outcome.planned.label == "first"), 1000)
        again = Spread.of((outcome.ttft for outcome in ok if outcome.planned.label == "again"), 1000)
        if first and again:
            run.findings["TTFT of the first, ms"] = first.p50
            run.findings["TTFT of those after it, ms"] = again.p50
            run.findings["TTFT after / first"] = again.p50 / first.p50
