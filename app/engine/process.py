"""The engine process: a plain loop of steps between two pipes.

The API process imports this module to name the target of the process, so torch is only imported once that runs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

from app.config import Config
from app.engine.failures import reason_of
from app.engine.pipe import PipeReader, write_event
from app.engine.signals import ignore_group_signals
from app.logs import configure_logging
from app.messages import Command, EngineFailed, EngineLoading, Event, SequencesBegan

if TYPE_CHECKING:
    from app.engine.constraints import Prepared
    from app.engine.core import EngineCore, Execution, Runner
    from app.scheduler.batch import ScheduledBatch

logger = logging.getLogger("millrace.engine")


def run_engine(config: Config, commands: Connection, events: Connection) -> None:
    """Main function of the engine process: load the model, report that, and step until the API process is gone."""
    ignore_group_signals()  # the API process decides what they mean, and closes the pipe to end this process
    configure_logging(config.log_level, config.log_format)
    let_idle_threads_sleep()
    inbox = Inbox(commands)
    send = partial(write_event, events.fileno())
    # For a small model this is the longest part of the start, so it is reported before it begins.
    send(EngineLoading("importing torch", 0.02))
    if core := load_engine(config, send):
        try:
            serve(core, inbox, send)
        except Exception:  # logged here in the format of all other lines; multiprocessing would print a bare traceback
            logger.critical("the engine process ends because of an error", exc_info=True)
            sys.exit(1)


def load_engine(config: Config, send: Callable[[Event], None]) -> EngineCore | None:
    """Start the engine and report that it is ready. Returns None if that failed, after reporting why."""
    try:
        from app.engine.startup import start_engine

        core, ready = start_engine(config, send)
    except Exception as error:  # any error at all means that there is no engine, and has to be reported
        send(EngineFailed(reason_of(error)))
        return None
    send(ready)
    return core


def let_idle_threads_sleep() -> None:
    """Make idle OpenMP threads sleep after a few microseconds. Call it before torch is imported, which loads OpenMP.

    By default these threads spin for milliseconds after each operator, on cores that the API process and our own
    kernels need.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


class AnnouncingRunner:
    """Reports the sequences that a step computes for the first time before it is executed.

    If executing the step kills the process, the API process then knows which sequences were new in it.
    """

    def __init__(self, runner: Runner, send: Callable[[Event], None]) -> None:
        self._runner = runner
        self._send = send

    def execute(self, batch: ScheduledBatch) -> Execution:
        if batch.admission.admitted:
            self._send(SequencesBegan(tuple(batch.admission.admitted)))
        return self._runner.execute(batch)


def serve(core: EngineCore, inbox: Inbox, send: Callable[[Event], None]) -> None:
    """Step while there is work and sleep otherwise. Every batch of commands is answered by the output of a step."""
    core.constraints.on_prepared = inbox.put
    core.runner = AnnouncingRunner(core.runner, send)
    while True:
        for command in inbox.drain(wait=not core.has_work):
            core.apply(command)
        send(core.step())


class Inbox:
    """Commands from the API process, which a thread takes off the pipe so that the pipe cannot fill up during a step.
    Sequences that another thread has prepared come the same way, so that the engine can sleep until there are any.

    End-of-file on the pipe means that the API process is gone: nobody is left to answer, so the process exits on the
    spot. It does the same on any error, because an engine that cannot read its commands must not go on.
    """

    def __init__(self, commands: Connection) -> None:
        self._commands = commands
        self._queue: SimpleQueue[Command | Prepared] = SimpleQueue()
        threading.Thread(target=self._receive, name="inbox", daemon=True).start()

    def put(self, prepared: Prepared) -> None:
        """Add what a thread of this process has prepared."""
        self._queue.put(prepared)

    def drain(self, wait: bool) -> Iterator[Command | Prepared]:
        """All commands that have arrived; with `wait`, blocks until there is at least one."""
        if wait:
            yield self._queue.get()
        while not self._queue.empty():
            yield self._queue.get()

    def _receive(self) -> None:
        reader = PipeReader[Command](self._commands.fileno())
        try:
            while True:
                for command in reader.read():
                    self._queue.put(command)
        except EOFError:
            os._exit(0)
        except BaseException:  # without this thread no command can be read any more, whatever the error was
            logger.critical("the engine cannot read its commands", exc_info=True)
            os._exit(1)
