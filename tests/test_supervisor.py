"""What happens after an engine process ends, with fake processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from app.engine.health import EngineState
from app.engine.restarts import MAX_KILLED_STARTS
from app.engine.supervisor import Supervisor
from app.messages import Command, EngineFailed, EngineLoading, Event
from tests.scripted_engine import READY


class Process:
    """Ends when the test says so."""

    pid = 1

    def __init__(self, receive: Callable[[Event], None], lost: Callable[[], None]) -> None:
        self.receive = receive
        self.lost = lost
        self.code = 0
        self.was_killed = asyncio.Event()

    def send(self, command: Command) -> None:
        raise AssertionError("nothing is sent here")

    async def exit_code(self) -> int:
        return self.code

    async def end(self) -> None:
        pass

    def kill(self) -> None:
        self.was_killed.set()

    def die(self, code: int = -signal.SIGKILL) -> None:
        self.code = code
        self.lost()


class Owner:
    """Wants another engine each time, and owes nothing unless `last_sign` is set."""

    def __init__(self, step_timeout: float = 1000) -> None:
        self.last_sign: float | None = None
        self.deaths: list[tuple[str, bool]] = []
        self.failures: asyncio.Queue[str] = asyncio.Queue()
        self.processes: asyncio.Queue[Any] = asyncio.Queue()
        self.error: Exception | None = None
        self.supervisor = Supervisor(self.make, step_timeout, self)

    def make(self, receive: Callable[[Event], None], lost: Callable[[], None]) -> Any:
        if self.error is not None:
            raise self.error
        process = Process(receive, lost)
        self.processes.put_nowait(process)
        return process

    async def started(self) -> Process:
        process: Process = await asyncio.wait_for(self.processes.get(), 30)
        return process

    async def failure(self) -> str:
        return await asyncio.wait_for(self.failures.get(), 30)

    def receive(self, event: Event) -> None:
        pass

    def engine_died(self, reason: str, has_served: bool) -> bool:
        self.deaths.append((reason, has_served))
        return True

    def engine_restarted(self) -> None:
        pass

    def engine_failed(self, reason: str) -> None:
        self.failures.put_nowait(reason)


async def test_a_killed_process_is_restarted_and_its_owner_notified() -> None:
    owner = Owner()
    owner.supervisor.start()
    (await owner.started()).die()
    second = await owner.started()
    second.receive(READY)
    assert owner.supervisor.state is EngineState.READY
    second.die(-signal.SIGSEGV)
    await owner.started()
    killed, crashed = owner.deaths
    assert killed == ("the engine process ended with code -9 (SIGKILL)", False)
    assert crashed == ("the engine process ended with code -11 (SIGSEGV)", True)
    assert owner.supervisor.state is EngineState.RESTARTING
    await owner.supervisor.stop()


async def test_a_start_that_reports_an_error_is_not_repeated() -> None:
    owner = Owner()
    owner.supervisor.start()
    process = await owner.started()
    process.receive(EngineFailed("no such model"))
    process.die(0)
    assert await owner.failure() == "no such model"
    assert (owner.supervisor.state, owner.processes.qsize()) == (EngineState.FAILED, 0)
    await owner.supervisor.stop()


async def test_starts_that_are_killed_every_time_are_given_up() -> None:
    owner = Owner()
    owner.supervisor.start()
    for _ in range(MAX_KILLED_STARTS):
        process = await owner.started()
        process.receive(EngineLoading("loading the weights", 0.5))
        process.die()
    assert "at last while loading the weights; the machine is likely out of memory" in await owner.failure()
    await owner.supervisor.stop()


async def test_a_process_that_cannot_be_created_fails_the_engine_at_once() -> None:
    owner = Owner()
    owner.supervisor.start()
    process = await owner.started()
    owner.error = OSError("too many open files")
    process.die()
    assert await owner.failure() == (
        "the engine cannot start: OSError: too many open files (the log has the traceback)"
    )
    await owner.supervisor.stop()


async def test_an_engine_that_owes_a_step_for_too_long_is_killed_and_restarted() -> None:
    owner = Owner(step_timeout=0.01)
    owner.supervisor.start()
    process = await owner.started()
    process.receive(READY)
    owner.last_sign = 1.0
    await asyncio.wait_for(process.was_killed.wait(), 30)
    process.die()
    second = await owner.started()
    assert owner.deaths == [("the engine process was killed after 0.01 s without an answer while taking a step", True)]
    second.receive(READY)
    await owner.supervisor.stop()


async def test_a_restart_that_hangs_is_killed_though_a_first_start_has_no_time_limit() -> None:
    owner = Owner(step_timeout=0.01)
    owner.supervisor.start()
    first = await owner.started()
    first.receive(EngineLoading("loading the weights", 0.5))
    first.receive(READY)
    first.die()
    second = await owner.started()
    second.receive(EngineLoading("warming up", 0.9))
    await asyncio.wait_for(second.was_killed.wait(), 30)
    second.die()
    await owner.started()
    assert "without an answer while warming up" in owner.deaths[-1][0]
    assert not first.was_killed.is_set()
    await owner.supervisor.stop()
