"""The phases of a start, as the engine process goes through and reports them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from app.messages import EngineLoading

PROGRESS = {
    "downloading the model": (0.1, 0.1),
    "reading the configuration": (0.1, 0.15),
    "preparing the kernels": (0.15, 0.2),
    "loading the weights": (0.2, 0.6),
    "compiling kernels": (0.6, 0.65),
    "profiling memory": (0.65, 0.65),
    "making the cache": (0.65, 0.7),
    "packing the weights": (0.7, 0.95),
    "recording CUDA graphs": (0.7, 0.95),
    "warming up": (0.95, 1.0),
}
"""Fraction of the whole start that is done when a phase begins and when it ends; importing torch precedes them all."""

MIN_PROGRESS = 0.01
"""Smallest fraction of the whole start that is worth a report."""


class Phases:
    """Reports what the start is doing and how far it is; `seconds` holds the duration of each phase that has ended."""

    def __init__(self, report: Callable[[EngineLoading], None]) -> None:
        self._report = report
        self._began = perf_counter()
        self._current = ""
        self._reported = 0.0
        self.seconds: dict[str, float] = {}

    def begin(self, phase: str) -> None:
        self.end()
        self._current, self._began = phase, perf_counter()
        self._report_fraction(PROGRESS[phase][0])

    def advance(self, share: float) -> None:
        """Report that this share (0 to 1) of the current phase is done."""
        begin, end = PROGRESS[self._current]
        fraction = begin + share * (end - begin)
        if fraction - self._reported >= MIN_PROGRESS:
            self._report_fraction(fraction)

    def download(self, num_bytes: int, total: int) -> None:
        """Report that so many bytes of so many are there."""
        detail = f"{num_bytes / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        self._report(EngineLoading(self._current, self._reported, detail))

    def _report_fraction(self, fraction: float) -> None:
        self._reported = fraction
        self._report(EngineLoading(self._current, fraction))

    def end(self) -> None:
        if self._current:
            self.seconds[self._current] = round(perf_counter() - self._began, 3)
