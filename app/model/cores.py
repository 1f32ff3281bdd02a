"""How many cores the container may use."""

from __future__ import annotations

from math import inf
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def container_cores() -> int | float:
    """Whole cores that the CPU limit (cgroup v2) allows, at least one; infinite without a limit.

    torch honours CPU affinity itself, but does not see a limit: with a thread for every core of the host it would use
    up its quota in a few milliseconds, and be throttled for the rest of each 100 ms period.
    """
    if not _CPU_MAX.exists():
        return inf
    quota, period = _CPU_MAX.read_text().split()
    return inf if quota == "max" else max(1, int(quota) // int(period))
