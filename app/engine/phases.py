"""The phases of a start, in the engine process."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from app.messages import EngineLoading

PROGRESS = {
    "downloading the model": (0.1, 0.1),
    "reading the configuration": (0.1, 0.2),
    "loading the weights": (0.2, 0.6),
    "compiling kernels": (0.6, 0.65),
    "profiling memory": (0.65, 0.65),
    "making the cache": (0.65, 0.7),
    "packing the weights": (0.7, 0.95),
    "recording CUDA graphs": (0.7, 0.95),
    "warming up": (0.95, 1.0),
}
"""How much of a start lies behind when a phase begins and when it ends; importing torch comes before the first."""

MIN_PROGRESS = 0.01
"""Of the whole start: smaller steps are not reported."""


class Phases:
    """Names what the start is doing, reports it as it goes on, and times it."""

    def __init__(self, report: Callable[[EngineLoading], None]) -> None:
        self._report = report
        self._began = perf_counter()
        self._current = ""
        self._told = 0.0
        self.seconds: dict[str, float] = {}

    def begin(self, phase: str) -> None:
        self.end()
        self._current, self._began = phase, perf_counter()
        self._tell(PROGRESS[phase][0])

    def advance(self, share: float) -> None:
        """So much of the current phase is done (0 to 1)."""
        begin, end = PROGRESS[self._current]
        fraction = begin + share * (end - begin)
        if fraction - self._told >= MIN_PROGRESS:
            self._tell(fraction)

    def _tell(self, fraction: float) -> None:
        self._told = fraction
        self._report(EngineLoading(self._current, fraction))

    def end(self) -> None:
        if self._current:
            self.seconds[self._current] = round(perf_counter() - self._began, 3)
