"""A command in a terminal of 80 columns: what is typed reaches it as keys, and what it shows is kept."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread
from time import monotonic

ROOT = Path(__file__).parent.parent
COLUMNS = 80
CTRL_C, CTRL_D = "\x03", "\x04"
PATIENCE = 60.0

ATTACH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes the terminal the one whose Ctrl-C reaches the command, and becomes it."""


class Terminal:
    """A command in a terminal of its own, which is its standard input, output and error."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        self._keys, screen = os.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, *command],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "HF_HUB_OFFLINE": "1", **(variables or {})},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
        )
        os.close(screen)
        self._shown = b""
        self._changed = Condition()
        self._is_open = True
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """Everything shown so far, escape sequences included."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def until(self, pattern: str, since: int = 0) -> re.Match[str]:
        """The first match of a pattern in what is shown from `since` on. Fails when it does not come."""
        deadline = monotonic() + PATIENCE
        with self._changed:
            while (found := re.compile(pattern).search(self.text, since)) is None:
                if not self._is_open or not self._changed.wait(deadline - monotonic()):
                    raise AssertionError(f"{pattern!r} is not shown:\n{self.text}")
        return found

    def exit_code(self) -> int:
        """How it ended, when all that it showed is in `text`."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        os.close(self._keys)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._keys, 1 << 16)
            except OSError:  # how Linux says that nobody has the terminal open any more
                piece = b""
            with self._changed:
                self._shown += piece
                self._is_open = bool(piece)
                self._changed.notify_all()
            if not piece:
                return


@contextmanager
def in_terminal(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """`millrace` with these arguments; nothing is left behind."""
    terminal = Terminal([sys.executable, "-m", "app", *arguments], variables)
    try:
        yield terminal
    finally:
        terminal.close()
