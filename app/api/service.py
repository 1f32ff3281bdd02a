"""What the routes share: the engine, the tokenizer once it is loaded, and the name under which the model is served."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.background import run_in_daemon_thread
from app.api.errors import ApiError
from app.api.excerpts import shortened
from app.api.generation.constraint_checks import ConstraintChecks
from app.api.generation.engine import Engine
from app.api.request_limits import RequestLimits
from app.checkpoint.files import BadCheckpoint
from app.engine.health import EngineState, Unavailable
from app.messages import EngineReady
from app.metrics import Metrics
from app.statistics.broadcast import Broadcast
from app.statistics.collector import StatisticsCollector
from app.text.model_files import TokenizerError
from app.text.tokenizer import Tokenizer

RETRY_SECONDS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a generation can start now and, if not, why."""

    state: EngineState
    reason: str = ""
    phase: str = ""
    progress: float = 0.0

    @property
    def can_serve(self) -> bool:
        return self.state is EngineState.READY


class Service:
    """The engine and the tokenizer, started together and served together.

    `seeds` draws seeds for requests that bring none. `on_failed` is called with the reason if the tokenizer cannot be
    loaded.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        load_tokenizer: Callable[[], Tokenizer],
        model_name: str,
        version: str,
        limits: RequestLimits,
        metrics: Metrics,
        collector: StatisticsCollector,
        seeds: random.Random,
        on_failed: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.seeds = seeds
        self.constraints = ConstraintChecks()
        self.model_name = model_name
        self.version = version
        self.limits = limits
        self.metrics = metrics
        self.collector = collector
        self.broadcast = Broadcast(collector, self.describe)
        self.tokenizer: Tokenizer | None = None
        self.loading: asyncio.Task[None] | None = None
        self._broadcasting: asyncio.Task[None] | None = None
        self._load_tokenizer = load_tokenizer
        self._on_failed = on_failed
        self._failure = ""

    async def start(self) -> None:
        """Start to load; returns before anything is loaded."""
        await self.engine.start()
        self.loading = asyncio.create_task(self._load())
        self._broadcasting = asyncio.create_task(self.broadcast.run())

    async def stop(self, drain_seconds: float) -> None:
        """Let the engine finish what runs, then end it."""
        await self.engine.stop(drain_seconds)
        self.broadcast.close()
        self.constraints.close()
        begun = [task for task in (self.loading, self._broadcasting) if task is not None]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)

    async def _load(self) -> None:
        try:
            self.tokenizer = await run_in_daemon_thread(self._load_tokenizer)
        except Exception as error:  # tokenizers come from anywhere, and fail in any way
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
        """The state of the server, and what it serves once that is known."""
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
        """The tokenizer and the properties of the model asked for. Raises ApiError (404) if another one is served, and
        Unavailable if the server cannot generate now.
        """
        if model not in (None, self.model_name):
            raise self.unknown_model(model)
        now = self.availability()
        if not now.can_serve or self.tokenizer is None or self.engine.ready is None:
            why = now.reason or f"{now.phase}, {now.progress:.0%} done"
            raise Unavailable(f"The server cannot take requests: it is {now.state} ({why}).", RETRY_SECONDS)
        return self.tokenizer, self.engine.ready

    def unknown_model(self, model: str | None) -> ApiError:
        """The 404 for a model that is not the one served."""
        message = f"The model {shortened(repr(model))} is not served here; {self.model_name!r} is."
        return ApiError(404, message, field="model", code="model_not_found")


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(_service)]
