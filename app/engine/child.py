"""The engine process and its pipes, as the API process holds them."""

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
"""Nothing of the API process reaches the engine but its arguments: no threads, no locks, no CUDA."""


class EngineProcess:
    """A running engine process. Its events arrive on the event loop that made it, and so does the news of its end."""

    def __init__(self, config: Config, receive: Callable[[Event], None], lost: Callable[[], None]) -> None:
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
        self._receive = receive
        self._lost = lost
        asyncio.get_running_loop().add_reader(events.fileno(), self._read)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def send(self, command: Command) -> None:
        """Never waits. A broken pipe is the end of the process, of which `lost` tells."""
        self._writer.write(command)

    def kill(self) -> None:
        """End it where it stands, even if it has been stopped. `lost` tells when it has gone."""
        self._process.kill()

    async def exit_code(self) -> int | None:
        """Of a process whose pipe has ended: negative is the signal that killed it. It may take a while to go."""
        await asyncio.to_thread(self._process.join)
        return self._process.exitcode

    async def end(self) -> None:
        """Close the pipe, which the process takes as its end; kill it if it does not."""
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
            self._lost()
        else:
            for event in events:
                self._receive(event)
