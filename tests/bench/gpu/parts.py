"""Where a step's time goes on the device, kernel by kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from app.engine.core import EngineCore
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale

MAX_KERNELS = 12
MAX_NAME_LENGTH = 56
GAP = 5.0
"""Microseconds between two kernels up to which the device is not said to wait: what it takes to start the next one of a
recording."""


def tell_parts(scale: Scale, tell: Tell, what: str, core: EngineCore, num_steps: int) -> float:
    """Tell the time that all kernels of a step take together, and each of those that take the most.

    Returns the seconds of a step in which the device computes: kernels that begin early overlap.
    """
    kernels = kernels_of(scale, core, num_steps)
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for name, (begin, end) in kernels:
        times[name] += (end - begin) / num_steps
        counts[name] += 1
    busy = covered(span for _, span in kernels) / num_steps
    note = f"{len(kernels) / num_steps:.0f} of them, {sum(times.values()):,.0f} us one by one"
    tell(Figure("parts", f"{what}: all kernels", (busy,), "us", note=note))
    for name, microseconds in times.most_common(MAX_KERNELS):
        number = counts[name] / num_steps
        note = f"{number:.0f} of {microseconds / number:.3g}"
        tell(Figure("parts", f"{what}: {name[:MAX_NAME_LENGTH]}", (microseconds,), "us", note=note))
    return busy / 1e6


def kernels_of(scale: Scale, core: EngineCore, num_steps: int) -> list[tuple[str, tuple[float, float]]]:
    """Name, begin and end, in microseconds, of every kernel that the next steps run."""
    is_cuda = scale.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]) as profiler:
        for _ in range(num_steps):
            core.step()
        scale.synchronize()
    kind = DeviceType.CUDA if is_cuda else DeviceType.CPU
    events = [event for event in profiler.events() if event.device_type == kind]
    return [(event.name, (event.time_range.start, event.time_range.end)) for event in events]


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length that intervals cover together, gaps of no more than `GAP` included."""
    total, reached = 0.0, -inf
    for begin, end in sorted(intervals):
        if begin - reached > GAP:
            total += end - begin
        else:
            total += max(0.0, end - reached)
        reached = max(reached, end)
    return total
