"""What a section tells, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


class Skipped(Exception):
    """A section cannot be run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once for each run; its median counts. It may have an aim, the least or the most."""

    section: str
    name: str
    values: tuple[float, ...]
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def aim(self) -> str:
        if self.at_least is not None:
            return f">= {number(self.at_least)}"
        return "" if self.at_most is None else f"<= {number(self.at_most)}"

    @property
    def is_met(self) -> bool | None:
        """None without an aim. What is not a number meets none."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "aim": self.aim, "met": self.is_met}

    def cells(self) -> list[str]:
        spread = f"{number(min(self.values))} to {number(max(self.values))}" if len(self.values) > 1 else ""
        verdict = {None: "", True: "yes", False: "NO"}[self.is_met]
        runs = str(len(self.values))
        return [self.section, self.name, number(self.median), self.unit, spread, runs, self.aim, verdict, self.note]


@dataclass(frozen=True, slots=True)
class Missing:
    """A section that came to nothing, or not to its end."""

    section: str
    reason: str
    is_failure: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def cells(self) -> list[str]:
        return [self.section, "FAILED" if self.is_failure else "skipped", *[""] * 6, self.reason]


class Tell:
    """Where a section's figures go, as soon as they are known: one that is told again replaces what it was.

    `before` is what an earlier command told of it.
    """

    def __init__(self, write: Callable[[Figure], None], before: Iterable[Figure] = ()) -> None:
        self._write = write
        self._before = {figure.name: figure for figure in before}

    def __call__(self, figure: Figure) -> None:
        self._write(figure)

    def known(self, name: str, runs: int = 1) -> Figure | None:
        """What was told of this before, if it was measured so often: there is no need to do it again."""
        figure = self._before.get(name)
        return None if figure is None or len(figure.values) < runs else figure


HEAD = ["section", "what", "median", "unit", "spread", "runs", "aim", "met", ""]


def table(results: Iterable[Figure | Missing]) -> str:
    rows = [HEAD, *(result.cells() for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def number(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
