"""The API process's side of the engine process: the process itself and the pipes to and from it."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from typing import Final

from app.config import Config
from app.engine.health import END_SECONDS
from app.engine.pipe import CommandWriter, PipeReader
from app.engine.process import run_engine
from app.engine.signals import group_signals_blocked
from app.messages import Command, Event

START_METHOD: Final = "spawn"
"""The engine inherits nothing of the API process but its arguments: no threads, no locks, no CUDA context."""


class EngineProcess:
    """A running engine process.

    `on_event` is called for each of its events and `on_end` once its pipe has ended, both on the event loop that
    created this object.
    """

    def __init__(self, config: Config, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> None:
        context = multiprocessing.get_context(START_METHOD)
        command_reader, self._commands = context.Pipe(duplex=False)
        events, event_writer = context.Pipe(duplex=False)
        self._process = context.Process(
            target=run_engine, args=(config, command_reader, event_writer), name="millrace-engine", daemon=True
        )
        with group_signals_blocked():
            self._process.start()
        # The parent's copies of the child's ends would keep the pipes open after the child's death.
        command_reader.close()
        event_writer.close()
        self._events = events
        self._reader = PipeReader[Event](events.fileno())
        self._writer = CommandWriter(self._commands.fileno())
        self._on_event = on_event
        self._on_end = on_end
        asyncio.get_running_loop().add_reader(events.fileno(), self._read)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def send(self, command: Command) -> None:
        """Send a command without waiting. A broken pipe is not reported here: it means that `on_end` will be called."""
        self._writer.write(command)

    def kill(self) -> None:
        """Kill the process on the spot, even if it is suspended; `on_end` is called when it is gone."""
        self._process.kill()

    async def exit_code(self) -> int | None:
        """Wait for a process whose pipe has ended to exit. Its exit code; minus a signal's number if that killed it."""
        await asyncio.to_thread(self._process.join)
        return self._process.exitcode

    async def end(self) -> None:
        """Close the pipe, which makes the process exit; kill it if it has not after `END_SECONDS`."""
        self._close_commands()
        await asyncio.to_thread(self._join_or_kill)

    def _join_or_kill(self) -> None:
        self._process.join(END_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def _close_commands(self) -> None:
        self._writer.close()
        self._commands.close()

    def _read(self) -> None:
        try:
            events = self._reader.read()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._close_commands()
            self._on_end()
        else:
            for event in events:
                self._on_event(event)
