"""Charts: round ticks, axes that fit, and SVG that is well-formed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from app.bench.plot import Axis, Curve, axis_of, line_chart, nice_step


@pytest.mark.parametrize(
    ("span", "step"), [(1.0, 0.2), (5.0, 1.0), (7.0, 2.0), (100.0, 20.0), (260.0, 100.0), (0.0, 1.0)]
)
def test_steps_are_round(span: float, step: float) -> None:
    assert nice_step(span) == pytest.approx(step)


def test_an_axis_begins_at_zero_and_ends_at_a_round_number() -> None:
    axis = axis_of([3.0, 47.0], 0.0, 100.0)
    assert (axis.low, axis.high, axis.logarithmic) == (0.0, 50.0, False)
    assert axis.ticks() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert axis.place(25.0) == 50.0


def test_values_far_apart_get_a_bounded_logarithmic_axis_unless_it_must_be_linear() -> None:
    axis = axis_of([0.0, 2.0, 500.0], 0.0, 100.0)
    assert axis.logarithmic
    assert axis.ticks() == [1, 2, 5, 10, 20, 50, 100, 200, 500]
    assert axis.place(0.0) == 0.0, "what is below the axis is drawn at its beginning"
    assert axis_of([1e-9, 500.0], 0.0, 100.0).low == pytest.approx(0.01)
    assert not axis_of([1.0, 100.0], 0.0, 100.0, even=True).logarithmic


def test_no_values_and_one_value_still_make_an_axis() -> None:
    assert axis_of([], 0.0, 100.0).high == 1.0
    assert axis_of([0.0], 0.0, 100.0).high == 1.0
    assert Axis(3.0, 3.0, 0.0, 100.0).place(3.0) == 50.0


def test_a_chart_has_its_curves_names_and_the_knee_and_escapes_what_it_shows() -> None:
    curves = [Curve("A <p50>", ((1.0, 10.0), (2.0, 20.0))), Curve("B", ((1.0, 12.0),), dashed=True, color=1)]
    svg = line_chart("TTFT & load", "requests/s", "ms", curves, marked_x=2.0)
    root = ElementTree.fromstring(svg)
    texts = {element.text for element in root.iter("text")}
    assert {"TTFT & load", "A <p50>", "B", "knee", "requests/s", "ms"} <= texts
    assert len(list(root.iter("polyline"))) == 2
    assert len(list(root.iter("circle"))) == 3
    assert [line.get("stroke-dasharray") for line in root.iter("polyline")] == [None, "6 4"]


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    assert ElementTree.fromstring(line_chart("none", "x", "y", [Curve("", ())])).tag == "svg"
