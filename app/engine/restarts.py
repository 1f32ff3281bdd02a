"""The restart policy: when to restart an engine process that has ended, and when to give up."""

from __future__ import annotations

import signal
from dataclasses import dataclass

MAX_KILLED_STARTS = 5
"""How many starts in a row may be killed by a signal. One or two may be bad luck; five have a cause that persists."""

MAX_FAILED_RESTARTS = 3
"""How many restarts in a row may fail with an error, of a model that has served before: the memory of the previous
process may not be free yet."""

FIRST_DELAY = 0.25
MAX_DELAY_SECONDS = 30.0
"""Seconds. The first restart is immediate, the second waits `FIRST_DELAY`, and each later one twice as long."""

STABLE_SECONDS = 60.0
"""An engine that has served for this long is considered healthy: its death is counted as the first one again."""


class GivenUp(RuntimeError):
    """Another start would not help; the message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class End:
    """How an engine process ended.

    `phase` is the last phase of its start, `served` the seconds for which it was ready (None if it never was), and
    `error` what it reported if its start failed. A negative `exit_code` is minus the number of the signal that killed
    it.
    """

    exit_code: int | None
    phase: str
    served: float | None = None
    error: str = ""

    @property
    def was_killed(self) -> bool:
        """Whether a signal killed it, or it vanished without reporting an error."""
        return not self.error and (self.exit_code is None or self.exit_code <= 0)

    @property
    def sentence(self) -> str:
        """How the process ended, in words for the operator."""
        return f"the engine process ended with code {self.exit_code}{self._signal_name}"

    @property
    def _signal_name(self) -> str:
        if self.exit_code is None or self.exit_code >= 0:
            return ""
        try:
            return f" ({signal.Signals(-self.exit_code).name})"
        except ValueError:
            return ""


class Restarts:
    """Counts how engine processes ended, and decides about the next start.

    A process that was killed is started again. A start that failed with an error is only repeated if the same model has
    served before.
    """

    def __init__(self) -> None:
        self._has_served = False
        self._num_deaths = 0
        self._num_killed_starts = 0
        self._num_failed_starts = 0

    def delay_after(self, end: End) -> float:
        """Seconds to wait before the next start. Raises GivenUp if there is to be none."""
        if end.served is not None:
            self._has_served = True
            self._num_killed_starts = self._num_failed_starts = 0
            if end.served >= STABLE_SECONDS:
                self._num_deaths = 0
        elif end.was_killed:
            self._num_killed_starts += 1
            if self._num_killed_starts >= MAX_KILLED_STARTS:
                raise GivenUp(self._killed_too_often(end))
        else:
            self._num_failed_starts += 1
            if not self._has_served or self._num_failed_starts >= MAX_FAILED_RESTARTS:
                raise GivenUp(end.error or f"{end.sentence} while it was {end.phase}; the log may say why")
        self._num_deaths += 1
        return 0.0 if self._num_deaths == 1 else min(FIRST_DELAY * 2 ** (self._num_deaths - 2), MAX_DELAY_SECONDS)

    def _killed_too_often(self, end: End) -> str:
        cure = "see the log, or try --backend sdpa"
        if end.exit_code == -signal.SIGKILL:
            cure = "the machine is likely out of memory: try a smaller --kv-cache-memory, or a smaller model"
        often = f"{end.sentence}, {MAX_KILLED_STARTS} times in a row before it was ready"
        return f"{often}, at last while {end.phase}; {cure}"
