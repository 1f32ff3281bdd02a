"""Keeps an engine process running: starts it, watches it, and restarts it when it has died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from app.engine.child import EngineProcess
from app.engine.failures import reason_of
from app.engine.health import EngineState
from app.engine.loading import StartUp
from app.engine.restarts import End, GivenUp, Restarts
from app.engine.watchdog import Watchdog, interval_of
from app.logs import LOG_ONLY
from app.messages import Command, EngineFailed, EngineLoading, EngineReady, Event

logger = logging.getLogger("millrace.supervisor")

RESTART_PATIENCE = 10
"""A restart may be silent for this many times the longest start so far, and for at least `step_timeout`."""

MakeProcess = Callable[[Callable[[Event], None], Callable[[], None]], EngineProcess]
"""Starts a process, given the callbacks for its events and for its end."""


class EngineOwner(Protocol):
    """The user of the engine, notified by the supervisor on the event loop."""

    @property
    def last_sign(self) -> float | None:
        """When a ready engine last answered, or was given its first work (monotonic clock); None if it owes nothing."""

    def receive(self, event: Event) -> None: ...

    def engine_died(self, reason: str, has_served: bool) -> bool:
        """All work that the process had been given is lost. Returns whether to start another process."""

    def engine_restarted(self) -> None:
        """Another process has been started; it is not ready yet."""

    def engine_failed(self, reason: str) -> None:
        """No other process will be started."""


class Supervisor:
    """`state` and `reason` say how the engine is doing.

    An engine that owes a step for more than `step_timeout` seconds, or hangs during a restart, is killed and restarted.
    The first start has no time limit, because nothing is known about how long it should take.
    """

    def __init__(self, make_process: MakeProcess, step_timeout: float, owner: EngineOwner) -> None:
        self.state = EngineState.STOPPED
        self.reason = ""
        self.start_up = StartUp()
        self.num_restarts = 0
        self._make_process = make_process
        self._step_timeout = step_timeout
        self._owner = owner
        self._restarts = Restarts()
        self._watchdog = Watchdog()
        self._process: EngineProcess | None = None
        self._ready_since: float | None = None
        self._longest_start: float | None = None
        self._last_report = 0.0
        self._error = ""
        self._kill_reason = ""
        self._watching: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process and return; the model loads meanwhile."""
        self.state = EngineState.LOADING
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        self._spawn()

    def send(self, command: Command) -> None:
        assert self._process is not None, "nothing is sent before the start"
        self._process.send(command)

    async def stop(self) -> None:
        self.state = EngineState.STOPPED
        for task in (self._watching, self._restarting):
            if task is not None:
                task.cancel()
        if self._process is not None:
            await self._process.end()

    def _spawn(self) -> None:
        self.start_up = StartUp()
        self._ready_since, self._error, self._kill_reason = None, "", ""
        self._last_report = time.monotonic()
        self._process = self._make_process(self._on_event, self._on_end)

    def _on_event(self, event: Event) -> None:
        match event:
            case EngineLoading():
                self._last_report = time.monotonic()
                self.start_up.enter(event)
                return
            case EngineFailed():
                self._error = event.reason
                return
            case EngineReady():
                self.start_up.end_phase()
                logger.info("%s", self.start_up.report(), extra=LOG_ONLY)
                self._longest_start = max(self._longest_start or 0.0, sum(self.start_up.seconds.values()))
                self._ready_since = time.monotonic()
                self.state, self.reason = EngineState.READY, ""
        self._owner.receive(event)

    def _on_end(self) -> None:
        """The pipe has ended, so the process is ending too."""
        if self.state is not EngineState.STOPPED:
            self.state, self.reason = EngineState.RESTARTING, "the engine process is ending"
            self._restarting = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Start another process or give up, on any exception too: nobody may wait for an engine that never comes."""
        try:
            await self._start_again()
        except GivenUp as error:
            logger.error("%s", self.reason, extra=LOG_ONLY if str(error) == self.reason else None)
            self._give_up(str(error))
        except Exception as error:  # the process could not be created, or the owner raised
            self._give_up(reason_of(error))

    async def _start_again(self) -> None:
        served = None if self._ready_since is None else time.monotonic() - self._ready_since
        assert self._process is not None, "it has just been lost"
        end = End(await self._process.exit_code(), self.start_up.current.phase, served, self._error)
        self.reason = self._kill_reason or self._error or end.sentence
        delay = self._restarts.delay_after(end)
        logger.error("%s", self.reason)
        if self._owner.engine_died(self.reason, has_served=served is not None):
            logger.warning("starting the engine process again in %.2f s", delay)
            await asyncio.sleep(delay)
            self.num_restarts += 1
            self._spawn()
            self._owner.engine_restarted()

    def _give_up(self, reason: str) -> None:
        self.state, self.reason = EngineState.FAILED, reason
        self._owner.engine_failed(reason)

    async def _watch(self) -> None:
        """Kill a process that no longer answers; recovery from that is the same as from any other death."""
        interval = interval_of(self._step_timeout)
        before = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            limit, sign = self._silence_limit()
            if self._watchdog.is_overdue(now - before, limit, sign) and self._process is not None:
                doing = "taking a step" if self.state is EngineState.READY else self.start_up.current.phase
                self._kill_reason = f"the engine process was killed after {limit:g} s without an answer while {doing}"
                self._process.kill()
            before = now

    def _silence_limit(self) -> tuple[float, float | None]:
        """How many seconds the engine may be silent now, and its last sign of life; None if it owes no answer."""
        if self.state is EngineState.READY:
            return self._step_timeout, self._owner.last_sign
        if self._longest_start is None or self.state is not EngineState.RESTARTING or self._ready_since is not None:
            return self._step_timeout, None
        return max(self._step_timeout, RESTART_PATIENCE * self._longest_start), self._last_report
