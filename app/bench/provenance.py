"""The provenance of results, without which numbers are worth little."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Provenance:
    """When, with which versions and on which machine (that of the load generator) a benchmark ran.

    `busy` is the machine's load average over the last minute before the first request.
    """

    date: str
    commit: str | None
    machine: str
    busy: float
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def now(cls, own_server: bool) -> Provenance:
        """With `own_server`, includes the versions of the libraries that the server runs on."""
        packages = ("millrace", "torch", "transformers") if own_server else ("millrace",)
        versions = [(name, found) for name in packages if (found := _version(name))]
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=_commit(),
            machine=_machine(),
            busy=os.getloadavg()[0],
            versions=(*versions, ("Python", platform.python_version())),
        )

    def lines(self) -> list[tuple[str, str]]:
        """Names and values as shown in a report."""
        return [
            ("date", self.date),
            ("commit", self.commit or "not a git checkout"),
            ("versions", ", ".join(f"{name} {value}" for name, value in self.versions)),
            ("machine", f"{self.machine} (the load comes from here)"),
            ("load average", f"{self.busy:.1f} before the first request"),
        ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that contains this file, and whether there are uncommitted changes."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")) != CHECKOUT.resolve():
            return None
        changed = bool(_git("status", "--porcelain"))
        return _git("rev-parse", "--short=12", "HEAD") + (" with uncommitted changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=10)
    return ended.stdout.strip()


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_chip()}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def _chip() -> str:
    """The name of the processor, if the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return f"{platform.machine()} {value.strip()}"
    except OSError:
        pass
    return platform.machine()
