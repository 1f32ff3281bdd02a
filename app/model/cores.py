"""How many cores a container may use."""

from __future__ import annotations

from math import inf
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def container_cores() -> int | float:
    """Whole cores that the CPU limit (cgroup v2) allows, at least one; infinite without a limit.

    Affinity is torch's own business. A limit is not seen by it: threads for every core of the host would use up their
    share in a few milliseconds and stand still for the rest of each tenth of a second.
    """
    if not _CPU_MAX.exists():
        return inf
    quota, period = _CPU_MAX.read_text().split()
    return inf if quota == "max" else max(1, int(quota) // int(period))
