"""The report as text: the circumstances first, then the numbers, then what a reader must know about them."""

from __future__ import annotations

from collections.abc import Sequence

from app.bench.caveats import caveats
from app.bench.compare import Measurement, by_load, paired
from app.bench.drive import Run
from app.bench.result import Result
from app.bench.summary import Spread, Summary, summarize


def report(result: Result) -> str:
    """The whole report, without a newline at its end."""
    width = max(len(name) for name, _ in result.facts())
    lines = [result.title, *(f"  {name:{width}}  {value}" for name, value in result.facts()), ""]
    runs = result.runs
    if len(runs) == 1:
        lines += whole(runs[0][1], summarize(runs[0][1], result.limits))
    else:
        lines += rows(result)
    lines += _notes(result)
    if result.settings.repeat > 1 or len(result.targets) > 1:
        lines += ratios(result) if len(result.targets) > 1 else repetitions(result)
    return "\n".join(lines).rstrip()


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns that are as wide as needed; the first is left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]


def number(value: float | None) -> str:
    """Three significant digits, more only before the decimal point; a dash for None."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.3g}"


def whole(run: Run, summary: Summary) -> list[str]:
    """The report of a single run."""
    rates = [
        ("requests", f"{summary.num_sent} sent, {summary.num_ok} succeeded, {summary.num_failed} failed"),
        ("ended with", ", ".join(f"{count} x {reason}" for reason, count in summary.finish_reasons) or "-"),
        ("load", f"{run.stage.load_text}, for {number(summary.seconds)} s"),
        ("request throughput", f"{number(summary.request_throughput)} requests/s"),
        ("output throughput", f"{number(summary.output_throughput)} tokens/s"),
        ("total throughput", f"{number(summary.total_throughput)} tokens/s, prompts and outputs"),
        ("tokens", f"{summary.prompt_tokens:,} prompt ({_cached(summary)}), {summary.output_tokens:,} output"),
    ]
    if summary.goodput is not None:
        rates.append(("goodput", f"{number(summary.goodput)} requests/s, {summary.good_share:.0%} within the limits"))
    late = f", requests sent at most {number(summary.lateness.max)} ms late" if summary.lateness else ""
    rates.append(("this client", f"{summary.client_share:.0%} of a core{late}"))
    spreads = (("TTFT", summary.ttft), ("ITL", summary.itl), ("TPOT", summary.tpot), ("E2E", summary.e2e))
    cells = [("ms", "mean", "p50", "p90", "p99", "max", "of"), *(_cells(*each) for each in spreads)]
    findings = [f"{name}: {number(value)}" for name, value in run.findings.items()]
    return [*findings, *([""] if findings else []), *table(cells), "", *table(_left(rates)), ""]


def rows(result: Result) -> list[str]:
    """A table with one line per run."""
    many = len(result.measurements) > 1
    head = ["run", "ok/sent", "req/s", "out tok/s", "TTFT p50", "p99", "ITL p50", "p99", "TPOT", "E2E p50"]
    extra = ["goodput", "within"] if result.limits else []
    hosts = ["GFLOP/s", "GB/s"] if any(measurement.host for measurement in result.measurements) else []
    cells = [[*head, *extra, "tok/event", "client", *hosts]]
    for measurement, run in result.runs:
        summary = summarize(run, result.limits)
        ttft, itl, tpot, e2e = summary.ttft, summary.itl, summary.tpot, summary.e2e
        values: list[float | None] = [summary.request_throughput, summary.output_throughput]
        values += [_point(ttft, "p50"), _point(ttft, "p99"), _point(itl, "p50"), _point(itl, "p99")]
        values += [_point(tpot, "mean"), _point(e2e, "p50")]
        host = measurement.host
        speeds = [number(host.gflops), number(host.gigabytes)] if host else ["-"] * len(hosts)
        name = _name(measurement, run, many)
        counts = f"{summary.num_ok}/{summary.num_sent}"
        good = [number(summary.goodput), f"{summary.good_share:.0%}"] if extra else []
        share = f"{summary.client_share:.0%}"
        cells.append([name, counts, *map(number, values), *good, number(summary.tokens_per_event), share, *speeds])
    return ["Latencies in ms; client is this client's share of a core.", *table(cells), "", *_findings(result)]


def repetitions(result: Result) -> list[str]:
    """The median of each number over the repetitions, with the lowest and the highest."""
    lines = []
    for load, each in by_load(result.measurements, result.targets[0].name, result.limits).items():
        lines.append(f"{load}, median of {result.settings.repeat} repetitions")
        cells = [("", "median", "lowest", "highest")]
        cells += [(one.name, number(one.median), number(one.low), number(one.high)) for one in each]
        lines += [*table(cells), ""]
    return lines


def ratios(result: Result) -> list[str]:
    """Server A next to B, and the median of the paired ratios with the lowest and the highest."""
    lines = []
    for load, pairs in paired(result.measurements, result.limits).items():
        lines.append(f"{load}: medians of A and B, and the paired ratio A/B of each of the repetitions")
        cells = [("", "A", "B", "A/B median", "lowest", "highest", "pairs")]
        for pair in pairs:
            ratio = [f"{value:.3f}" for value in (pair.ratio.median, pair.ratio.low, pair.ratio.high)]
            medians = (number(pair.a.median), number(pair.b.median))
            cells.append((pair.ratio.name, *medians, ratio[0], ratio[1], ratio[2], str(len(pair.ratio.values))))
        lines += [*table(cells), ""]
    return lines


def _notes(result: Result) -> list[str]:
    lines = []
    many = len(result.measurements) > 1
    for measurement, run in result.runs:
        notes = caveats(run, summarize(run, result.limits), result.settings.workload)
        lines += [f"! {_name(measurement, run, many)}: {note}" for note in notes]
    return [*lines, ""] if lines else []


def _findings(result: Result) -> list[str]:
    many = len(result.measurements) > 1
    lines = [
        f"{_name(measurement, run, many)}: {name}: {number(value)}"
        for measurement, run in result.runs
        for name, value in run.findings.items()
    ]
    return [*lines, ""] if lines else []


def _name(measurement: Measurement, run: Run, many: bool) -> str:
    return f"{measurement.server}{measurement.repetition + 1} {run.stage.load_text}" if many else run.stage.load_text


def _point(spread: Spread | None, name: str) -> float | None:
    return None if spread is None else float(getattr(spread, name))


def _cells(name: str, spread: Spread | None) -> tuple[str, ...]:
    if spread is None:
        return (name, *["-"] * 6)
    points = (spread.mean, spread.p50, spread.p90, spread.p99, spread.max)
    return (name, *map(number, points), str(spread.count))


def _left(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Two left-aligned columns."""
    width = max(len(value) for _, value in pairs)
    return [(name, value.ljust(width)) for name, value in pairs]


def _cached(summary: Summary) -> str:
    return "cached ones unknown" if summary.cached_tokens is None else f"{summary.cached_tokens:,} cached"
