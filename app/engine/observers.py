"""Several observers of the same engine."""

from __future__ import annotations

from app.engine.health import EngineObserver
from app.engine.stream import TokenStream
from app.messages import EngineReady, StepOutput


class Observers:
    """An `EngineObserver` that passes every call on to others, in the order given."""

    def __init__(self, *observers: EngineObserver) -> None:
        self._observers = observers

    def step_taken(self, output: StepOutput) -> None:
        for observer in self._observers:
            observer.step_taken(output)

    def sequence_scheduled(self, stream: TokenStream) -> None:
        for observer in self._observers:
            observer.sequence_scheduled(stream)

    def first_token(self, stream: TokenStream) -> None:
        for observer in self._observers:
            observer.first_token(stream)

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:
        for observer in self._observers:
            observer.token_gap(seconds, count, example)

    def sequence_finished(self, stream: TokenStream) -> None:
        for observer in self._observers:
            observer.sequence_finished(stream)

    def engine_ready(self, ready: EngineReady) -> None:
        for observer in self._observers:
            observer.engine_ready(ready)

    def engine_restarted(self) -> None:
        for observer in self._observers:
            observer.engine_restarted()

    def sequence_recovered(self) -> None:
        for observer in self._observers:
            observer.sequence_recovered()
