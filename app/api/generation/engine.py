"""The engine, as far as the API knows it."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import Protocol

from app.engine.health import EngineHealth
from app.engine.stream import TokenStream
from app.messages import Constraint, EngineReady, SamplingParams


class Engine(Protocol):
    """What the API needs of the engine; `EngineClient` is one. `stop` may be called more than once."""

    @property
    def ready(self) -> EngineReady | None: ...

    @property
    def health(self) -> EngineHealth: ...

    async def start(self) -> None: ...

    async def stop(self, drain_seconds: float) -> None: ...

    def check_room(self, num_sequences: int, owner: str = "") -> None: ...

    def generate(
        self,
        prompt_token_ids: Seq[int],
        params: SamplingParams,
        priority: int = 0,
        cache_salt: str = "",
        owner: str = "",
        precedence: int | None = None,
        constraint: Constraint | None = None,
    ) -> TokenStream: ...
