"""A start of the engine as the API process sees it: the current phase, and how long the earlier ones took."""

from __future__ import annotations

import time

from app.messages import EngineLoading

FIRST_PHASE = EngineLoading("starting the process", 0.0)


class StartUp:
    """Follows one start. `seconds` maps the phases that have ended to their durations, in order."""

    def __init__(self) -> None:
        self.current = FIRST_PHASE
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def enter(self, loading: EngineLoading) -> None:
        """Take a report of progress: in a new phase, or further in the current one."""
        if loading.phase != self.current.phase:
            self.end_phase()
        self.current = loading

    def end_phase(self) -> None:
        now = time.monotonic()
        self.seconds[self.current.phase] = round(now - self._began, 3)
        self._began = now

    def report(self) -> str:
        """One line with the whole duration and that of each phase, for the log."""
        phases = ", ".join(f"{seconds:.1f} s {phase}" for phase, seconds in self.seconds.items())
        return f"ready after {sum(self.seconds.values()):.1f} s: {phases}"
