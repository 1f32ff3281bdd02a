"""The report as text, and charts of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.bench.document import page
from app.bench.engine.measure import PARTS, Decode, Prefill
from app.bench.engine.result import TITLE, EngineResult
from app.bench.plot import Curve, line_chart
from app.bench.report import number, table

DECODE_HEAD = (
    *("streams", "context", "step ms", "p10", "p90", "tok/s"),
    *("MB/step", "GB/s", "of most", "GFLOP/step", "GFLOP/s", "of most", "bound by", "least ms"),
)


def report(result: EngineResult) -> str:
    """The whole report, without a newline at its end."""
    width = max(len(name) for name, _ in result.facts())
    lines = [TITLE, *(f"  {name:{width}}  {value}" for name, value in result.facts()), ""]
    lines += _decode_table(
        "decode: one token for each stream; the bound is the slower of memory and arithmetic at their most",
        result.decodes,
    )
    lines += ["where a decode step's time goes, us (median of each part)", *_parts(result.decodes), ""]
    lines += [*_prefill(result.prefill), ""]
    if result.by_batch:
        lines += _decode_table("cost as the batch grows", result.by_batch)
    if result.by_context:
        lines += _decode_table("cost as the context grows", result.by_context)
    lines += [f"! {note}" for note in result.caveats()]
    return "\n".join(lines).rstrip()


def document(result: EngineResult) -> str:
    """A self-contained HTML file."""
    return page(TITLE, charts(result), report(result))


def charts(result: EngineResult) -> list[str]:
    """Charts of the measured step time and its two lower bounds."""
    drawn: list[tuple[str, str, Sequence[Decode], Callable[[Decode], float]]] = [
        ("Step time against batch size", "sequences in the batch", result.by_batch, lambda one: one.load.num_streams),
        ("Step time against context", "tokens of context", result.by_context, lambda one: one.context),
    ]
    return [line_chart(title, label, "ms", _curves(points, x_of)) for title, label, points, x_of in drawn if points]


def _curves(points: Sequence[Decode], x_of: Callable[[Decode], float]) -> list[Curve]:
    times: dict[str, Callable[[Decode], float]] = {
        "measured": lambda one: one.step.p50,
        "bytes / bandwidth": lambda one: one.roofline.memory_seconds,
        "FLOP / arithmetic": lambda one: one.roofline.arithmetic_seconds,
    }
    return [
        Curve(name, tuple((x_of(one), 1000 * time(one)) for one in points), dashed=color > 0, color=color)
        for color, (name, time) in enumerate(times.items())
    ]


def _decode_table(title: str, decodes: Sequence[Decode]) -> list[str]:
    return [title, *table([DECODE_HEAD, *map(_decode_row, decodes)]), ""]


def _decode_row(one: Decode) -> tuple[str, ...]:
    step = one.step
    return (
        str(one.load.num_streams),
        number(one.context),
        *(number(1000 * seconds) for seconds in (step.p50, step.p10, step.p90)),
        number(one.tokens_per_second),
        number(one.num_bytes / 1e6),
        number(one.bandwidth / 1e9),
        f"{one.bandwidth_share:.0%}",
        number(one.operations / 1e9),
        number(one.arithmetic / 1e9),
        f"{one.arithmetic_share:.0%}",
        one.roofline.bound,
        number(1000 * one.roofline.seconds),
    )


def _parts(decodes: Sequence[Decode]) -> list[str]:
    rows = [(str(one.load.num_streams), *(number(1e6 * one.parts[name]) for name in PARTS)) for one in decodes]
    return table([("streams", *PARTS), *rows])


def _prefill(one: Prefill) -> list[str]:
    total = one.total
    cells = (
        str(one.num_tokens),
        str(one.num_steps),
        *(number(1000 * seconds) for seconds in (total.p50, total.p10, total.p90)),
        number(one.tokens_per_second),
        number(one.operations / total.p50 / 1e9),
        f"{one.arithmetic_share:.0%}",
    )
    return ["prefill", *table([("tokens", "steps", "ms", "p10", "p90", "tok/s", "GFLOP/s", "of most"), cells])]
