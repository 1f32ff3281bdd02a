"""What a person reads on standard error while the server starts and stops; in a log, the same as records.

On a terminal one line is rewritten in place. Every log record of either process erases it first (`app.logs`), so that
records stand whole above it, and it comes again within `REFRESH_SECONDS`.
"""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from contextlib import suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol, TextIO

from app.logs import ERASE, is_terminal

DEFAULT_COLUMNS = 80
REFRESH_SECONDS = 0.1
REPEAT_SECONDS = 10.0
"""How often a log says again what a long phase is doing."""

log = logging.getLogger("millrace.server")


class Console(Protocol):
    """Where a start is watched. All methods may be called from any thread."""

    def show(self, phase: str, fraction: float, seconds: float) -> None:
        """What is being done, how much of the start is behind us (0 to 1), and for how long it has been going on."""

    def wait(self, message: str) -> None:
        """What is waited for now, often; a log need not hold it."""

    def clear(self) -> None:
        """What is shown now goes."""

    def say(self, message: str) -> None:
        """A message that stays."""


class Terminal:
    """A terminal of at least a few columns that understands escape sequences."""

    def __init__(self, stream: TextIO, model: str) -> None:
        self._stream = stream
        self._model = model
        self._lock = Lock()

    def show(self, phase: str, fraction: float, seconds: float) -> None:
        self.wait(f"Loading {self._model}: {phase}, {fraction:.0%}, {seconds:.0f} s")

    def wait(self, message: str) -> None:
        self._write(ERASE + shortened(message, columns(self._stream) - 1))

    def clear(self) -> None:
        self._write(ERASE)

    def say(self, message: str) -> None:
        lines = textwrap.wrap(message, columns(self._stream) - 1, break_long_words=False, break_on_hyphens=False)
        self._write(ERASE + "\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        with self._lock, suppress(OSError):  # a terminal that was closed is no reason to end
            self._stream.write(text)
            self._stream.flush()


class Log:
    """Standard error where no terminal is, or where every line is an object: a record for each phase."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._phase = ""
        self._said_at = 0.0

    def show(self, phase: str, fraction: float, seconds: float) -> None:
        name = phase.partition(" (")[0]  # what follows is how far it is
        if name != self._phase or seconds - self._said_at >= REPEAT_SECONDS:
            self._phase, self._said_at = name, seconds
            log.info("Loading %s: %s, %.0f%%", self._model, phase, 100 * fraction)

    def wait(self, message: str) -> None:
        """Records are for what changes."""

    def clear(self) -> None:
        """Records stay."""

    def say(self, message: str) -> None:
        log.info("%s", message)


class StartProgress:
    """Shows how far a start is, from a thread of its own: the main one imports for seconds, and then serves.

    `enter` names what is being done, and is called whenever that changes.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = monotonic()
        self._now = ("starting", 0.0)
        self._over = Event()
        self._thread = Thread(target=self._run, name="start-progress", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Since the start began."""
        return monotonic() - self._began

    def enter(self, phase: str, fraction: float) -> None:
        self._now = (phase, fraction)

    def end(self) -> None:
        """Show nothing more. May be called again."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
            self._console.clear()

    def _run(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            self._console.show(*self._now, self.seconds)


def open_console(log_format: str, model: str) -> Console:
    """The terminal, if standard error is one and the log is made of lines to read."""
    return Terminal(sys.stderr, model) if log_format == "console" and is_terminal(sys.stderr) else Log(model)


def columns(stream: TextIO) -> int:
    """How wide a terminal is."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def shortened(text: str, length: int) -> str:
    """The text, cut at its end if it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"
