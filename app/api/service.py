"""What the routes share: the engine, the tokenizer once it is loaded, and the name the model is served under."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from app.api.background import run_in_daemon_thread
from app.api.errors import ApiError
from app.api.openai.schemas.base import shortened
from app.api.request_limits import Limits
from app.checkpoint.files import BadCheckpoint
from app.engine.health import EngineHealth, EngineState, Unavailable
from app.engine.stream import TokenStream
from app.messages import EngineReady, SamplingParams
from app.metrics import Metrics
from app.statistics.broadcast import Broadcast
from app.statistics.collector import StatisticsCollector
from app.text.model_files import TokenizerError
from app.text.tokenizer import Tokenizer

RETRY_SECONDS = 5

log = logging.getLogger(__name__)


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
    ) -> TokenStream: ...


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a generation can begin now, and if not, why."""

    state: EngineState
    reason: str = ""
    phase: str = ""
    progress: float = 0.0

    @property
    def can_serve(self) -> bool:
        return self.state is EngineState.READY


class Service:
    """The engine and the tokenizer, started together and served together.

    `seeds` draws for requests that bring no seed. `on_failed` is told if the tokenizer cannot be loaded.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        load_tokenizer: Callable[[], Tokenizer],
        model_name: str,
        version: str,
        limits: Limits,
        metrics: Metrics,
        collector: StatisticsCollector,
        seeds: random.Random,
        on_failed: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.seeds = seeds
        self.model_name = model_name
        self.version = version
        self.limits = limits
        self.metrics = metrics
        self.collector = collector
        self.broadcast = Broadcast(collector, self.describe)
        self.tokenizer: Tokenizer | None = None
        self.loading: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._load_tokenizer = load_tokenizer
        self._on_failed = on_failed
        self._failure = ""

    async def start(self) -> None:
        """Begin to load; returns before anything is loaded."""
        await self.engine.start()
        self.loading = asyncio.create_task(self._load())
        self._telling = asyncio.create_task(self.broadcast.run())

    async def stop(self, drain_seconds: float) -> None:
        """Let the engine end what runs, and itself."""
        await self.engine.stop(drain_seconds)
        self.broadcast.close()
        begun = [task for task in (self.loading, self._telling) if task is not None]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)

    async def _load(self) -> None:
        try:
            self.tokenizer = await run_in_daemon_thread(self._load_tokenizer)
        except Exception as error:  # tokenizers come from anywhere and fail in every way
            log.debug("The tokenizer cannot be loaded", exc_info=error)
            says_what_to_do = isinstance(error, BadCheckpoint | TokenizerError)
            self._failure = str(error) if says_what_to_do else f"The tokenizer cannot be loaded: {error}"
            self._on_failed(self._failure)

    def availability(self) -> Availability:
        """The engine's state, or the tokenizer's where that is what is missing."""
        health = self.engine.health
        if self._failure:
            return Availability(EngineState.FAILED, self._failure)
        if health.state is EngineState.READY:
            if self.tokenizer is None:
                return Availability(EngineState.LOADING, phase="loading the tokenizer", progress=health.progress)
            return Availability(EngineState.READY, progress=1.0)
        return Availability(health.state, health.reason, health.phase, health.progress)

    def describe(self) -> dict[str, object]:
        """How the server is, and what it serves once that is known."""
        now, engine, ready = self.availability(), self.engine.health, self.engine.ready
        return {
            "state": now.state,
            "reason": now.reason,
            "phase": now.phase,
            "progress": round(now.progress, 3),
            "running": engine.num_running,
            "waiting": engine.num_waiting,
            "model": self.model_name,
            "version": self.version,
            "engine": None if ready is None else asdict(ready),
        }

    def require(self, model: str | None) -> tuple[Tokenizer, EngineReady]:
        """The tokenizer and the limits of the model asked for: 404 if it is another one, 503 if it is not there yet."""
        if model not in (None, self.model_name):
            raise self.unknown_model(model)
        now = self.availability()
        if not now.can_serve or self.tokenizer is None or self.engine.ready is None:
            why = now.reason or f"{now.phase}, {now.progress:.0%} done"
            raise Unavailable(f"The server cannot take requests: it is {now.state} ({why}).", RETRY_SECONDS)
        return self.tokenizer, self.engine.ready

    def unknown_model(self, model: str | None) -> ApiError:
        message = f"The model {shortened(repr(model))} is not served here; {self.model_name!r} is."
        return ApiError(404, message, param="model", code="model_not_found")


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(_service)]
