"""The report as one self-contained HTML file: charts, such as latency against load for a sweep, and the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from statistics import median

from app.bench.outcome import Outcome
from app.bench.plot import Curve, line_chart
from app.bench.report import report
from app.bench.result import Result
from app.bench.summary import Summary, percentile, summarize

STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
pre { overflow-x: auto; font-size: 0.85rem; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
svg { max-width: 100%; height: auto; }
"""

Pick = Callable[[Summary], float | None]


def document(result: Result) -> str:
    """The content of the HTML file."""
    return page(result.title, charts(result), report(result))


def page(title: str, charts: Sequence[str], text: str) -> str:
    """An HTML page with SVG charts above a report."""
    figures = "\n".join(f"<figure>{chart}</figure>" for chart in charts)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
{figures}
<pre>{escape(text)}</pre>
</body>
</html>
"""


def charts(result: Result) -> list[str]:
    """Charts against load if there were several loads, else of the distribution of latencies."""
    if len({run.stage.load for _, run in result.runs}) > 1:
        return _against_load(result)
    return [
        _distribution(result, "TTFT", lambda outcome: [] if outcome.ttft is None else [outcome.ttft]),
        _distribution(result, "ITL", lambda outcome: outcome.gaps),
    ]


def _against_load(result: Result) -> list[str]:
    closed = result.runs[0][1].stage.concurrency is not None
    x_label = "streams at once" if closed else "requests/s offered"
    knees = [run.findings["knee, requests/s"] for _, run in result.runs if "knee, requests/s" in run.findings]
    drawn: list[tuple[str, str, dict[str, Pick]]] = [
        (f"{name.upper()} against load", "ms", {"p50": _point(name, "p50"), "p99": _point(name, "p99")})
        for name in ("ttft", "itl", "e2e")
    ]
    drawn.append(("Output throughput against load", "tokens/s", {"": lambda summary: summary.output_throughput}))
    if result.limits is not None:
        rates: dict[str, Pick] = {
            "all": lambda summary: summary.request_throughput,
            "good": lambda summary: summary.goodput,
        }
        drawn.append(("Throughput and goodput against load", "requests/s", rates))
    marked = knees[0] if len(knees) == 1 else None
    return [line_chart(title, x_label, unit, _curves(result, picks), marked) for title, unit, picks in drawn]


def _curves(result: Result, picks: dict[str, Pick]) -> list[Curve]:
    """A curve per server and pick: the median over the repetitions at each load. The second server's are dashed."""
    curves = []
    for number, target in enumerate(result.targets):
        summaries: dict[float, list[Summary]] = {}
        for measurement, run in result.runs:
            if measurement.server == target.name:
                summaries.setdefault(run.stage.load, []).append(summarize(run, result.limits))
        for color, (name, pick) in enumerate(picks.items()):
            picked = {
                load: [value for one in each if (value := pick(one)) is not None] for load, each in summaries.items()
            }
            points = tuple((load, median(values)) for load, values in sorted(picked.items()) if values)
            curves.append(Curve(_curve_name(result, target.name, name), points, dashed=number > 0, color=color))
    return curves


def _distribution(result: Result, name: str, values_of: Callable[[Outcome], Sequence[float]]) -> str:
    """A chart of the percentage of values below each time, over all repetitions."""
    curves = []
    for number, target in enumerate(result.targets):
        values = sorted(
            value * 1000
            for measurement, run in result.runs
            if measurement.server == target.name
            for outcome in run.outcomes
            if outcome.ok
            for value in values_of(outcome)
        )
        points = tuple((percentile(values, share), float(share)) for share in range(101)) if values else ()
        curves.append(Curve(_curve_name(result, target.name, ""), points, dashed=number > 0, color=number))
    return line_chart(f"{name}: share of all within a time", "ms", "%", curves)


def _curve_name(result: Result, server: str, name: str) -> str:
    return f"{server} {name}".strip() if len(result.targets) > 1 else name


def _point(spread: str, point: str) -> Pick:
    """Picks one point of one latency from a summary, such as the p99 of TTFT."""

    def pick(summary: Summary) -> float | None:
        found = getattr(summary, spread)
        return None if found is None else float(getattr(found, point))

    return pick
