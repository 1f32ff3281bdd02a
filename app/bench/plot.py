"""Draws line charts as SVG: a few curves over one axis, with a source small enough to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 44
COLORS = ("#1f6fb4", "#d95f02", "#1b9e77", "#7b3fa0", "#b8860b", "#c2185b")
WIDE = 50
"""Values that span more than this factor get a logarithmic axis."""
MAX_DECADES = 1e4
"""A logarithmic axis spans at most about this factor; smaller values are drawn at its start."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points from left to right. The curves of a second server are dashed."""

    name: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    color: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values to pixels, linearly or logarithmically."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
            return [mark for mark in marks if self.low <= mark <= self.high * (1 + 1e-9)]
        step = nice_step(self.high - self.low)
        count = math.floor((self.high - self.low) / step + 1e-9)
        return [self.low + step * number for number in range(count + 1)]


def nice_step(span: float) -> float:
    """A round step that divides `span` into about five."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    return power * next(factor for factor in (1, 2, 5, 10) if span / 5 <= factor * power * (1 + 1e-9))


def axis_of(values: Sequence[float], start: float, end: float, even: bool = False) -> Axis:
    """An axis from 0 to a round number above the largest value; logarithmic if values are far apart, unless `even`."""
    high = max(values, default=1.0) or 1.0
    positive = [value for value in values if value > 0]
    if not even and positive and high / min(positive) > WIDE:
        low = 10.0 ** math.floor(math.log10(max(min(positive), high / MAX_DECADES)))
        return Axis(low, high * 1.1, start, end, logarithmic=True)
    step = nice_step(high)
    return Axis(0.0, math.ceil(high / step - 1e-9) * step, start, end)


def line_chart(title: str, x_label: str, y_label: str, curves: Sequence[Curve], marked_x: float | None = None) -> str:
    """One chart as an `<svg>` element. `marked_x` gets a vertical line."""
    points = [point for curve in curves for point in curve.points]
    x_axis = axis_of([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = axis_of([y for _, y in points], HEIGHT - BOTTOM, TOP, even=y_label == "%")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">',
        _text(LEFT, 16, title, weight="bold"),
        *_grid(x_axis, y_axis),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, anchor="middle"),
        f'<g transform="rotate(-90 14 {HEIGHT / 2})">{_text(14, HEIGHT / 2, y_label, anchor="middle")}</g>',
    ]
    if marked_x is not None:
        x = x_axis.place(marked_x)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#c00"/>')
        parts.append(_text(x + 4, TOP + 10, "knee", color="#c00"))
    parts += [_curve(curve, x_axis, y_axis) for curve in curves]
    parts += _legend(curves)
    return "\n".join([*parts, "</svg>"])


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    lines = []
    for mark in y_axis.ticks():
        y = y_axis.place(mark)
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#8884"/>')
        lines.append(_text(LEFT - 6, y + 4, f"{mark:,.6g}", anchor="end"))
    for mark in x_axis.ticks():
        x = x_axis.place(mark)
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#8882"/>')
        lines.append(_text(x, HEIGHT - BOTTOM + 16, f"{mark:,.6g}", anchor="middle"))
    return lines


def _curve(curve: Curve, x_axis: Axis, y_axis: Axis) -> str:
    color = COLORS[curve.color % len(COLORS)]
    placed = [(x_axis.place(x), y_axis.place(y)) for x, y in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
    line = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>'
    shown = placed if len(placed) <= 30 else []
    return line + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in shown)


def _legend(curves: Sequence[Curve]) -> list[str]:
    """The legend, from the right end of the title line leftwards."""
    parts, x = [], float(WIDTH - RIGHT)
    for curve in reversed([curve for curve in curves if curve.name]):
        x -= 7 * len(curve.name) + 4
        parts.append(_text(x, 16, curve.name, color=COLORS[curve.color % len(COLORS)]))
        dash = ' stroke-dasharray="4 3"' if curve.dashed else ""
        line = f'x1="{x - 20:.1f}" y1="12" x2="{x - 4:.1f}" y2="12"'
        parts.append(f'<line {line} stroke="{COLORS[curve.color % len(COLORS)]}" stroke-width="2"{dash}/>')
        x -= 28
    return parts


def _text(
    x: float, y: float, text: str, anchor: str = "start", color: str = "currentColor", weight: str = "normal"
) -> str:
    style = f'text-anchor="{anchor}" fill="{color}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
