"""Runs pip for `make`, with what it is doing and how much is there already in one line, rewritten in place.

    python config/install.py WHAT [pip's arguments ...]

Standard library only. Where standard output is no terminal, each thing that pip does is a line. What pip itself has to
say is shown if it fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

VENV = Path(sys.prefix)
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
SHOWN_LINES = 30


class Pip:
    """A running pip: what it has printed, and what that means it is doing."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *arguments]
        scratch = VENV / "tmp"  # where its downloads can be seen to grow
        scratch.mkdir(exist_ok=True)
        variables = os.environ | {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.lines: list[str] = []
        self.doing = "asking the package index"
        self._process = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def exit_code(self) -> int:
        """Of a pip that has ended, when all that it printed is in `lines`."""
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
    sizes = (entry.stat(follow_symlinks=False).st_size for entry in _files(directory))
    return sum(sizes) // 1_000_000


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield entry
    except OSError:  # pip removes what it no longer needs
        return


def watch(pip: Pip) -> None:
    """Show what a pip does until it ends."""
    began = counted_at = monotonic()
    size, last = megabytes(VENV), ""
    while pip.is_running():
        if not sys.stdout.isatty():
            if pip.doing != last:
                print(f"  {pip.doing}", flush=True)
                last = pip.doing
        else:
            if monotonic() - counted_at > 1:
                size, counted_at = megabytes(VENV), monotonic()
            text = f"  {size:,} MB there, {monotonic() - began:.0f} s: {pip.doing}"
            print("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        sleep(REFRESH_SECONDS)
    if sys.stdout.isatty():
        print("\r\x1b[K", end="", flush=True)


def main() -> int:
    what, *arguments = sys.argv[1:]
    print(textwrap.fill(what, shutil.get_terminal_size().columns - 1), flush=True)
    began = monotonic()
    pip = Pip(arguments)
    try:
        watch(pip)
    except KeyboardInterrupt:
        print("\nstopped; what is there already is not installed again")
        return 130
    finally:
        shutil.rmtree(VENV / "tmp", ignore_errors=True)
    if code := pip.exit_code():
        print("\n".join(pip.lines[-SHOWN_LINES:]), file=sys.stderr)
        print(f"pip could not install it (exit code {code}); what it said last is above", file=sys.stderr)
        return code
    print(f"Installed in {monotonic() - began:.0f} s, {megabytes(VENV):,} MB in all.", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
