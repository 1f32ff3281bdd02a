"""How large everything is: as on a GPU, or just large enough to see that all of it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch

from app.model.graphs import CudaRecorder
from tests.bench.gpu.figures import Skipped
from tests.bench.shapes import SHAPES, Shape

Item = TypeVar("Item")


@dataclass(frozen=True)
class Scale:
    """`runs`: how often each thing is measured. `out`: where files go that are worth keeping."""

    smoke: bool
    out: Path

    @cached_property
    def device(self) -> torch.device:
        if not self.smoke and not torch.cuda.is_available():
            raise Skipped("there is no CUDA device; --smoke runs everything small on the CPU")
        return torch.device("cpu" if self.smoke else "cuda")

    @property
    def runs(self) -> int:
        return 1 if self.smoke else 5

    @property
    def dtype(self) -> torch.dtype:
        """The interpreter computes in numpy, which has no bfloat16."""
        return torch.float32 if self.smoke else torch.bfloat16

    @property
    def backend(self) -> str:
        return "sdpa" if self.smoke else "triton"

    def shape(self, name: str) -> Shape:
        return SHAPES["tiny" if self.smoke else name]

    def of(self, large: int, small: int) -> int:
        return small if self.smoke else large

    def few(self, items: Iterable[Item]) -> list[Item]:
        """All of them, or only the first."""
        return [*items][: self.of(1000, 1)]

    def needs_triton(self) -> None:
        """Raises Skipped where its kernels cannot run."""
        try:
            import triton
        except ImportError as error:
            raise Skipped("Triton is not installed") from error
        if self.smoke and not triton.knobs.runtime.interpret:
            raise Skipped("on a CPU the kernels need TRITON_INTERPRET=1")

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def recorded(self, run: Callable[[], torch.Tensor]) -> Callable[[], object]:
        """The same without the host's share, which for short kernels would be what is timed."""
        if self.device.type != "cuda":
            return run
        replay = CudaRecorder(self.device)(run)
        # The recording reads where what `run` holds is: that must live as long.
        return partial(lambda replay, _: replay(), replay, run)

    def times(self, run: Callable[[], object], at_least: float = 0.02) -> tuple[float, ...]:
        """Seconds that one call takes, in each of the runs; a run repeats it until it takes so long."""
        if self.smoke:
            return tuple(self._time(run, 1) for _ in range(self.runs))
        self._time(run, 2)
        count = max(1, round(at_least / max(self._time(run, 3), 1e-7)))
        return tuple(self._time(run, count) for _ in range(self.runs))

    def _time(self, run: Callable[[], object], count: int) -> float:
        """Mean seconds of one of `count` calls in a row, by the device's clock."""
        if self.device.type != "cuda":
            began = perf_counter()
            for _ in range(count):
                run()
            return (perf_counter() - began) / count
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / count


@dataclass(frozen=True, slots=True)
class Peaks:
    """What this device does at most, in this process: bytes copied (read and written) and operations, per second."""

    copy: tuple[float, ...]
    product: tuple[float, ...]

    @property
    def bytes_per_second(self) -> float:
        return median(self.copy)

    @property
    def operations_per_second(self) -> float:
        return median(self.product)


def peaks(scale: Scale) -> Peaks:
    """A copy much larger than the caches, and a product of random matrices: zeros would be faster."""
    side = scale.of(8192, 64)
    source = torch.randint(100, (scale.of(1 << 30, 1 << 12),), dtype=torch.int32, device=scale.device)
    target = torch.empty_like(source)
    copies = scale.times(lambda: target.copy_(source))
    left, right = (torch.randn(side, side, device=scale.device, dtype=scale.dtype) for _ in range(2))
    products = scale.times(lambda: left @ right)
    return Peaks(tuple(2 * source.nbytes / time for time in copies), tuple(2 * side**3 / time for time in products))
