"""Installs into a virtual environment for `make`, which it makes if need be, and shows in one line how far it is.

    python config/install.py DIRECTORY WHAT [pip's arguments ...]

Standard library only. Where standard output is no terminal, each thing that pip does is a line. What pip itself has to
say is shown if it fails.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

MIN_PYTHON = (3, 11)
DOING = {
    "Collecting": "finding",
    "Obtaining": "reading",
    "Downloading": "downloading",
    "Using cached": "taking from the cache",
    "Processing": "taking",
    "Installing build dependencies": "preparing to build",
    "Getting requirements": "preparing to build",
    "Preparing metadata": "preparing to build",
    "Building": "building",
    "Installing collected packages": "unpacking",
}
"""How lines of pip's begin that say what it does, and what they mean."""

REFRESH_SECONDS = 0.25
COUNT_SECONDS = 2.0
SHOWN_LINES = 30


class Running:
    """A command that is running: what it has printed, and what that means it is doing. `scratch` is for its files."""

    def __init__(self, command: list[str], doing: str, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        variables = {
            **os.environ,
            "TMPDIR": str(scratch),
            "PYTHONUNBUFFERED": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.lines: list[str] = []
        self.doing = doing
        self._process = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def exit_code(self) -> int:
        """Of a command that has ended, when all that it printed is in `lines`."""
        self._reader.join()
        return self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            self.doing = doing(line.strip()) or self.doing


def doing(line: str) -> str:
    """What a line of pip's says that it does now; empty if it says something else."""
    for beginning, meaning in DOING.items():
        if line.startswith(beginning):
            rest = line.removeprefix(beginning).strip(" :").split(" (from ")[0]
            if meaning == "unpacking":
                return f"unpacking {rest.count(',') + 1} packages"
            return f"{meaning} {re.sub(r'-[^-]+-[^-]+-[^-]+[.]whl', '', Path(rest).name)}".rstrip()
    return ""


def megabytes(directory: Path) -> int:
    """How much is in a directory, in MB."""
    return sum(_sizes(directory)) // 1_000_000


def _sizes(directory: Path) -> Iterator[int]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        with suppress(OSError):  # pip renames and removes files meanwhile
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_size


class Size:
    """How much is in a directory, counted again and again from a thread: on a busy disk that takes seconds."""

    def __init__(self, directory: Path) -> None:
        self.megabytes = 0
        self.directory = directory
        Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            self.megabytes = megabytes(self.directory)
            sleep(COUNT_SECONDS)


def watch(running: Running, size: Size, began: float) -> None:
    """Show what a command does until it ends, and how much there is in the directory."""
    last = ""
    while running.is_running():
        if not sys.stdout.isatty():
            if running.doing != last:
                print(f"  {running.doing}", flush=True)
                last = running.doing
        else:
            text = f"  {size.megabytes:,} MB there, {monotonic() - began:.0f} s: {running.doing}"
            print("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        sleep(REFRESH_SECONDS)
    if sys.stdout.isatty():
        print("\r\x1b[K", end="", flush=True)


def run(command: list[str], doing: str, size: Size, began: float) -> int:
    """Run a command, and show it. Returns its exit code; what it printed last is shown if that is not 0."""
    scratch = size.directory / "tmp"  # in the directory, so that downloads count
    try:
        running = Running(command, doing, scratch)
        watch(running, size, began)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code := running.exit_code():
        print("\n".join(running.lines[-SHOWN_LINES:]), file=sys.stderr)
        print(f"{' '.join(command[1:4])} ended with {code}; what it said last is above", file=sys.stderr)
    return code


def main() -> int:
    if sys.version_info < MIN_PYTHON:
        print(f"Python 3.11 or newer is needed, and this is {platform.python_version()}: add PYTHON=python3.11, say")
        return 1
    directory, what, *arguments = Path(sys.argv[1]), *sys.argv[2:]
    print(textwrap.fill(what, shutil.get_terminal_size().columns - 1), flush=True)
    began, python = monotonic(), str(directory / "bin" / "python")
    commands = [([python, "-m", "pip", "install", "--progress-bar", "off", *arguments], "asking the package index")]
    if not (directory / "bin" / "pip").exists():  # made last, if making the environment was not interrupted
        commands.insert(0, ([sys.executable, "-m", "venv", str(directory)], "making a Python environment"))
    size = Size(directory)
    try:
        for command, doing in commands:
            if code := run(command, doing, size, began):
                return code
    except KeyboardInterrupt:
        print("\nstopped; what has been downloaded is not downloaded again")
        return 130
    print(f"Installed in {monotonic() - began:.0f} s, {megabytes(directory):,} MB in all.", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
