"""What makes a figure honest: where, when and of what it was taken, and how far the repetitions lie apart."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.e2e.server import ROOT


def print_circumstances(seed: int, **facts: object) -> None:
    """One line for each thing that a reader needs to repeat the measurement, or to distrust it."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("millrace", "torch", "transformers", "uvicorn"))
    lines = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": f"{versions}, Python {platform.python_version()}",
        "host": f"{_cpu_name()}, {os.cpu_count()} cores, load of the last minute {os.getloadavg()[0]:.2f}",
        "seed": seed,
        **facts,
    }
    for name, value in lines.items():
        print(f"{name + ':':<12}{value}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))


def spread(values: Sequence[float], digits: int = 1, scale: float = 1.0) -> str:
    """The median, and between which values it lies."""
    middle, low, high = (f"{value * scale:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def _commit() -> str:
    """The checked-out commit, and whether the files differ from it."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if _git("status", "--porcelain", "--", "app", "config") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
