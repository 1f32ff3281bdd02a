"""What the engine's client tells others: its state, its refusals, and what happens to whoever measures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.engine.stream import TokenStream
from app.messages import EngineReady, StepOutput

END_SECONDS = 5.0
"""How long the engine process may take to end when it is told to, before it is killed."""


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


class Unavailable(RuntimeError):
    """The engine is loading, restarting, draining or failed. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineObserver(Protocol):
    """Whoever measures. Called on the event loop, in the order things happen."""

    def step_taken(self, output: StepOutput) -> None: ...

    def sequence_scheduled(self, stream: TokenStream) -> None: ...

    def first_token(self, stream: TokenStream) -> None: ...

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:
        """Time between two consecutive output tokens; `count` sequences had the same in this step, `example` is one."""

    def sequence_finished(self, stream: TokenStream) -> None:
        """Called once per stream, whatever its end, when its reader is done: `stream.finish_reason` and the number of
        its output tokens are what the client was told, `stream.times` when.
        """

    def engine_ready(self, ready: EngineReady) -> None: ...

    def engine_restarted(self) -> None: ...

    def sequence_recovered(self) -> None:
        """An open sequence was given to an engine that was started again."""


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """`last_step_age` is in seconds, None before the first step."""

    state: EngineState
    reason: str
    phase: str
    progress: float
    num_running: int
    num_waiting: int
    num_restarts: int
    last_step_age: float | None
    step_overdue: bool
