"""Measures how fast this machine is right now: it may be shared, and its speed may drift from run to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

SIDE = 1024
COPIED_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class HostSpeed:
    """Float32 matrix products in GFLOP/s, and memory traffic (reads and writes) in GB/s, with numpy's threads."""

    gflops: float
    gigabytes: float


def probe_host(seconds: float = 2.0) -> HostSpeed:
    """Measure for about `seconds`, half of it each. Blocks; meant to be called between runs."""
    import numpy

    left = numpy.random.default_rng(0).random((SIDE, SIDE), dtype=numpy.float32)
    product = numpy.empty_like(left)
    source = numpy.ones(COPIED_BYTES // 4, dtype=numpy.float32)
    copy = numpy.empty_like(source)
    products, product_seconds = _repeat(lambda: numpy.matmul(left, left, out=product), seconds / 2)
    copies, copy_seconds = _repeat(lambda: numpy.copyto(copy, source), seconds / 2)
    return HostSpeed(products * 2 * SIDE**3 / product_seconds / 1e9, copies * 2 * COPIED_BYTES / copy_seconds / 1e9)


def _repeat(action: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Repeat `action` for a while after a warm-up. Returns how often, and in how many seconds."""
    action()
    count, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds:
        action()
        count += 1
    return count, elapsed
