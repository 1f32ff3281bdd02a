"""A start of the engine as the API process sees it: what is being done, and how long each phase took."""

from __future__ import annotations

import time

from app.messages import EngineLoading

FIRST_PHASE = EngineLoading("starting the process", 0.0)


class StartUp:
    """`seconds` holds the phases that are behind us, in their order, from the process's start on."""

    def __init__(self) -> None:
        self.current = FIRST_PHASE
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def enter(self, loading: EngineLoading) -> None:
        """A phase begins, or goes on."""
        if loading.phase != self.current.phase:
            self.end_phase()
        self.current = loading

    def end_phase(self) -> None:
        now = time.monotonic()
        self.seconds[self.current.phase] = round(now - self._began, 3)
        self._began = now

    def report(self) -> str:
        """All phases in one line."""
        phases = ", ".join(f"{seconds:.1f} s {phase}" for phase, seconds in self.seconds.items())
        return f"ready after {sum(self.seconds.values()):.1f} s: {phases}"
