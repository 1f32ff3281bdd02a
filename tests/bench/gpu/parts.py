"""Where a step's time goes on the device, kernel by kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from app.engine.core import EngineCore
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale

MOST_KERNELS = 12
LONGEST_NAME = 56


def tell_parts(scale: Scale, tell: Tell, what: str, core: EngineCore, num_steps: int) -> None:
    """Tell the time that all kernels of a step take together, and each of those that take the most."""
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for kernel, microseconds in kernels_of(scale, core, num_steps):
        times[kernel] += microseconds / num_steps
        counts[kernel] += 1
    total, launched = sum(times.values()), sum(counts.values()) / num_steps
    tell(Figure("parts", f"{what}: all kernels", (total,), "us", note=f"{launched:.0f} of them"))
    for kernel, microseconds in times.most_common(MOST_KERNELS):
        number = counts[kernel] / num_steps
        note = f"{number:.0f} of {microseconds / number:.3g}"
        tell(Figure("parts", f"{what}: {kernel[:LONGEST_NAME]}", (microseconds,), "us", note=note))


def kernels_of(scale: Scale, core: EngineCore, num_steps: int) -> Iterator[tuple[str, float]]:
    """Name and microseconds of every kernel that the next steps run."""
    is_cuda = scale.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]) as profiler:
        for _ in range(num_steps):
            core.step()
        scale.synchronize()
    kind = DeviceType.CUDA if is_cuda else DeviceType.CPU
    for event in profiler.events():
        if event.device_type == kind:
            yield event.name, event.time_range.elapsed_us()
