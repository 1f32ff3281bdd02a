"""What the engine client exposes: the state of the engine, refusals, and the interface of observers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.engine.stream import TokenStream
from app.messages import EngineReady, StepOutput

END_SECONDS = 5.0
"""How long the engine process may take to exit when asked to, before it is killed."""


class EngineState(StrEnum):
    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    DRAINING = "draining"
    FAILED = "failed"
    STOPPED = "stopped"


class Overloaded(RuntimeError):
    """The queue is full. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueShareUsed(Overloaded):
    """The queue has room, but no more for this key."""


class Unavailable(RuntimeError):
    """The engine is loading, restarting, draining or failed. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineObserver(Protocol):
    """Receives engine events, for metrics and statistics. Called on the event loop, in the order of events."""

    def step_taken(self, output: StepOutput) -> None: ...

    def sequence_scheduled(self, stream: TokenStream) -> None: ...

    def first_token(self, stream: TokenStream) -> None: ...

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:
        """`count` sequences, one of which is `example`, got a token `seconds` after their previous one."""

    def sequence_finished(self, stream: TokenStream) -> None:
        """Called once per stream, however it ended, when its reader is done: only then are `stream.finish_reason`, the
        number of output tokens and `stream.times` what the client saw.
        """

    def engine_ready(self, ready: EngineReady) -> None: ...

    def engine_restarted(self) -> None: ...

    def sequence_recovered(self) -> None:
        """An open sequence was resubmitted to an engine that had been restarted."""


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """A snapshot of the engine's state, for health endpoints.

    `progress` is the fraction of the start that is done (0 to 1), `last_step_age` the seconds since the engine last
    reported a step or was given work; None before its first step. `step_overdue` is true if a step takes longer than
    allowed.
    """

    state: EngineState
    reason: str
    phase: str
    progress: float
    num_running: int
    num_waiting: int
    num_restarts: int
    last_step_age: float | None
    step_overdue: bool
