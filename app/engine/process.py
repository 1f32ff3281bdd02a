"""The engine process: a plain loop of steps between two pipes.

The API process imports this module to name its target, so what needs torch is imported when the process runs.
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
    from app.engine.core import EngineCore, Execution, Runner
    from app.scheduler.batch import ScheduledBatch

logger = logging.getLogger("millrace.engine")


def run_engine(config: Config, commands: Connection, events: Connection) -> None:
    """Load the model, say so, and step until the API process is gone."""
    ignore_group_signals()  # the API process closes the pipe if they mean the end
    configure_logging(config.log_level, config.log_format)
    let_idle_threads_sleep()
    inbox = Inbox(commands)
    send = partial(write_event, events.fileno())
    # The longest part of a small model's start, so it is told before it begins.
    send(EngineLoading("importing torch", 0.02))
    if core := load_engine(config, send):
        try:
            serve(core, inbox, send)
        except Exception:  # in the format of all other lines, which multiprocessing's own report has not
            logger.critical("the engine ends with an error", exc_info=True)
            sys.exit(1)


def load_engine(config: Config, send: Callable[[Event], None]) -> EngineCore | None:
    """Start the engine and report that it is ready, or else why it cannot be."""
    try:
        from app.engine.startup import start_engine

        core, ready = start_engine(config, send)
    except Exception as error:  # whatever it was, it is the reason why there is no engine
        send(EngineFailed(reason_of(error)))
        return None
    send(ready)
    return core


def let_idle_threads_sleep() -> None:
    """Before torch is imported: OpenMP reads this when it is loaded.

    By default its threads spin for milliseconds after each operator, on cores that the API and our own kernels want;
    this is a few microseconds.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


class AnnouncingRunner:
    """Names the sequences that a step begins with before it is executed: if that kills the process, they are known."""

    def __init__(self, runner: Runner, send: Callable[[Event], None]) -> None:
        self._runner = runner
        self._send = send

    def execute(self, batch: ScheduledBatch) -> Execution:
        if batch.admission.admitted:
            self._send(SequencesBegan(tuple(batch.admission.admitted)))
        return self._runner.execute(batch)


def serve(core: EngineCore, inbox: Inbox, send: Callable[[Event], None]) -> None:
    """Step while there is work, sleep while there is none. Every batch of commands is answered by a step's report."""
    core.runner = AnnouncingRunner(core.runner, send)
    while True:
        for command in inbox.drain(wait=not core.has_work):
            core.apply(command)
        send(core.step())


class Inbox:
    """Commands from the API process, taken off the pipe at once so that they do not pile up there during a step.

    When the pipe ends the API process has gone, nobody is left to answer, and the process exits where it stands. So it
    does at any error: an engine that hears nobody must not go on.
    """

    def __init__(self, commands: Connection) -> None:
        self._commands = commands
        self._queue: SimpleQueue[Command] = SimpleQueue()
        threading.Thread(target=self._receive, name="inbox", daemon=True).start()

    def drain(self, wait: bool) -> Iterator[Command]:
        """Everything that has arrived; with `wait`, at least one command."""
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
        except BaseException:  # whatever it was, nobody is heard any more
            logger.critical("the engine cannot read its commands", exc_info=True)
            os._exit(1)
