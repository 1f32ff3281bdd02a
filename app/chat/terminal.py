"""Writing to the terminal: the answer as it comes, and what is said about it in dim."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Screen:
    """Standard output. Dim only where it is a terminal that may show it (https://no-color.org)."""

    def __init__(self) -> None:
        self._has_styles = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ
        self._is_dim = False
        self._column_is_0 = True

    def write(self, text: str, *, dim: bool = False) -> None:
        """A piece of an answer, at once. Reasoning is dim."""
        if not text:
            return
        if dim != self._is_dim:
            self._switch(dim)
        sys.stdout.write(text)
        sys.stdout.flush()
        self._column_is_0 = text.endswith("\n")

    def end_line(self) -> None:
        """Begin a new line, unless one has just begun."""
        if self._is_dim:
            self._switch(False)
        if not self._column_is_0:
            self.write("\n")

    def note(self, text: str) -> None:
        """A line about the conversation, dim."""
        self.end_line()
        self.write(text + "\n", dim=True)
        self.end_line()

    def _switch(self, dim: bool) -> None:
        self._is_dim = dim
        if self._has_styles:
            sys.stdout.write(DIM if dim else PLAIN)
            sys.stdout.flush()


def edit_lines() -> None:
    """Let `input` edit lines and remember them, where Python has readline."""
    with suppress(ImportError):
        import readline

        readline.set_auto_history(True)
