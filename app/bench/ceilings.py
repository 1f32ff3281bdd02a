"""Measures the machine's ceilings: bytes per second read from memory, and operations per second of matrix products.

These are the two ceilings of the roofline model (Williams, Waterman and Patterson 2009): no step can be faster than
moving its bytes at the one rate or performing its operations at the other. On a CPU a probe in C is compiled for the
processor, because torch's own products are far slower than the chip in bfloat16. Without a compiler, and on other
devices, torch is used to measure.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from app.model.native.compiler import NoCompiler, compile_library

logger = logging.getLogger("millrace.bench")

SOURCE = Path(__file__).with_name("ceilings.c")
SECONDS = 2.0
SAMPLES = 7
MIN_BUFFER_BYTES = 256 * 2**20
CACHES = 4
"""The buffer to read is at least this many times as large as the last-level cache."""
INNER_WORDS = 128
"""Inner dimension of the compiled products, in 32-bit words: a panel of the right matrix then fits in the L1 cache."""
WHOLE_WORDS = 16
"""The inner dimension is padded with zeros to a multiple of this many words."""
CPU_SIDE, DEVICE_SIDE = 1024, 8192
"""Side lengths of the square matrices that torch multiplies."""
KINDS = {"float32": (1, np.float32), "bfloat16": (2, np.uint16), "int8": (4, np.int8)}
"""How many numbers a 32-bit word holds, and the type that stores them here; in the order of the C enumeration."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bytes or operations per second, in several short samples. Multiplications and additions both count as operations.

    `by` names what it was measured with.
    """

    by: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.samples)

    def as_json(self) -> dict[str, Any]:
        low, high = min(self.samples), max(self.samples)
        return {"by": self.by, "median": self.median, "lowest": low, "highest": high, "samples": list(self.samples)}


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The ceilings of a device.

    `products` is keyed by the type of the factors; types without a fast product on this machine are missing.
    `cache_bytes` is the size of the last-level cache (0 if unknown): smaller data may not be read from memory at all.
    """

    bandwidth: Ceiling
    products: dict[str, Ceiling]
    num_threads: int
    buffer_bytes: int
    cache_bytes: int

    def product_for(self, dtype: str) -> tuple[str, Ceiling]:
        """The kind of product for weights of this dtype, and its ceiling; that of float32 if there is no other."""
        name = dtype if dtype in self.products else "float32"
        return name, self.products[name]

    def as_json(self) -> dict[str, Any]:
        return {
            "bandwidth": self.bandwidth.as_json(),
            "products": {name: ceiling.as_json() for name, ceiling in self.products.items()},
            "num_threads": self.num_threads,
            "buffer_bytes": self.buffer_bytes,
            "cache_bytes": self.cache_bytes,
        }


def probe(device_type: str, num_threads: int, seconds: float = SECONDS, buffer_bytes: int | None = None) -> Ceilings:
    """Measure for about `seconds`. Blocks; nothing else should be running. Torch must use `num_threads` threads too."""
    device = torch.device(device_type)
    cache_bytes = last_cache_bytes() if device.type == "cpu" else 0
    size = buffer_bytes or _buffer_bytes(cache_bytes)
    try:
        compiled = Probe(num_threads) if device.type == "cpu" else None
    except (NoCompiler, OSError, subprocess.CalledProcessError) as error:
        logger.warning(
            "the probe cannot be compiled, so torch is used to measure: %s", getattr(error, "stderr", "") or error
        )
        compiled = None
    kinds = [kind for kind in KINDS if kind != "int8" or (compiled is not None and compiled.has(kind))]
    share = seconds / (1 + len(kinds))
    bandwidth = compiled.read(size, share) if compiled else _torch_bandwidth(device, size, share)
    products = {
        kind: compiled.multiply(kind, share) if compiled and compiled.has(kind) else _torch_product(device, kind, share)
        for kind in kinds
    }
    return Ceilings(bandwidth, products, num_threads, size, cache_bytes)


def device_name(device: str) -> str:
    """The device, with the name of the chip if torch knows it."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def last_cache_bytes() -> int:
    """The size in bytes of the largest cache that the system lists; 0 if it lists none."""
    sizes = [size for size in (_cache_size(path) for path in _cache_paths()) if size]
    return max(sizes, default=0)


def _cache_paths() -> Iterator[Path]:
    return Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")


def _cache_size(path: Path) -> int:
    text = path.read_text().strip()
    return int(text.removesuffix("K")) * 1024 if text.endswith("K") else int(text.removesuffix("M")) * 2**20


def _buffer_bytes(cache_bytes: int) -> int:
    """Size of the buffer: much larger than the last-level cache, but at most a quarter of the free memory."""
    return min(max(MIN_BUFFER_BYTES, CACHES * cache_bytes), psutil.virtual_memory().available // 4 // 4096 * 4096)


class Probe:
    """`ceilings.c`, compiled for this processor. Raises NoCompiler, CalledProcessError or OSError if that fails."""

    def __init__(self, num_threads: int) -> None:
        self._library = compile_library(SOURCE)
        self._library.fill.restype = ctypes.c_double
        self._library.read_all.restype = ctypes.c_double
        self._library.product.restype = ctypes.c_double
        self._num_threads = num_threads
        self.num_rows = self._constant("num_rows")
        self.num_columns = self._constant("num_columns")
        self._panel = self._constant("panel_columns")

    def has(self, kind: str) -> bool:
        """Whether the probe has instructions of this processor for this kind of product."""
        return bool(self._library.has_kind(list(KINDS).index(kind)))

    def read(self, num_bytes: int, seconds: float) -> Ceiling:
        """Bytes per second when reading a buffer; checks that every word has been read."""
        words = aligned(num_bytes // 8, np.int64)
        arguments = (_address(words), ctypes.c_int64(len(words)), ctypes.c_int32(self._num_threads))
        _checked(self._library.fill(*arguments))

        def sample(repetitions: int) -> float:
            sums = ctypes.c_int64()
            taken = sum(_checked(self._library.read_all(*arguments, ctypes.byref(sums))) for _ in range(repetitions))
            assert sums.value == repetitions * (len(words) * (len(words) - 1) // 2), "not every word was read"
            return taken

        return Ceiling("compiled probe", _samples(sample, words.nbytes, seconds))

    def multiply(self, kind: str, seconds: float) -> Ceiling:
        """Operations per second of products of small integers; checks every result."""
        choice = np.random.default_rng(0)
        inner = INNER_WORDS * KINDS[kind][0]
        left = choice.integers(0, 3, (self.num_rows, inner))
        right = choice.integers(-2, 3, (inner, self.num_columns))
        expected = left @ right

        def sample(repetitions: int) -> float:
            out, taken = self.product(kind, left, right, repetitions)
            assert (out == repetitions * expected).all(), f"the {kind} product is wrong"
            return taken

        operations = 2 * self.num_rows * self.num_columns * inner * self._num_threads
        return Ceiling("compiled probe", _samples(sample, operations, seconds))

    def product(
        self, kind: str, left: NDArray[Any], right: NDArray[Any], repetitions: int
    ) -> tuple[NDArray[Any], float]:
        """Each thread's `left @ right`, summed over the repetitions, and the seconds that they took.

        `left` is `[num_rows, inner]` and `right` `[inner, num_columns]`: integers that the kind can hold, non-negative
        in `left`. The result is `[threads, num_rows, num_columns]`.
        """
        per_word, _ = KINDS[kind]
        padding = -len(right) % (WHOLE_WORDS * per_word)
        left, right = np.pad(left, ((0, 0), (0, padding))), np.pad(right, ((0, padding), (0, 0)))
        words = len(right) // per_word
        panels = right.reshape(words, per_word, self.num_columns // self._panel, self._panel)
        packed_left = _aligned_copy(_stored(kind, left))
        packed_right = _aligned_copy(_stored(kind, panels.transpose(2, 0, 3, 1)))
        out = aligned(
            self._num_threads * self.num_rows * self.num_columns, np.int32 if kind == "int8" else np.float32
        ).reshape(self._num_threads, self.num_rows, self.num_columns)
        out[...] = 0
        taken = self._library.product(
            ctypes.c_int32(list(KINDS).index(kind)),
            _address(packed_left),
            _address(packed_right),
            ctypes.c_int32(words),
            _address(out),
            ctypes.c_int32(repetitions),
            ctypes.c_int32(self._num_threads),
        )
        return out, _checked(taken)

    def _constant(self, name: str) -> int:
        return ctypes.c_int32.in_dll(self._library, name).value


def _stored(kind: str, numbers: NDArray[Any]) -> NDArray[Any]:
    """The numbers as the kind stores them. bfloat16 is the upper half of float32, exact for small integers."""
    if kind == "bfloat16":
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(KINDS[kind][1])


def aligned(count: int, dtype: Any, alignment: int = 64) -> NDArray[Any]:
    """An uninitialised array that starts at a cache line."""
    size = count * np.dtype(dtype).itemsize
    raw = np.empty(size + alignment, np.uint8)
    begin = -raw.ctypes.data % alignment
    return raw[begin : begin + size].view(dtype)


def _aligned_copy(numbers: NDArray[Any]) -> NDArray[Any]:
    copy = aligned(numbers.size, numbers.dtype)
    copy[:] = numbers.ravel()
    return copy


def _address(numbers: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(numbers.ctypes.data)


def _checked(seconds: float) -> float:
    if seconds < 0:
        raise OSError("the probe's threads cannot be started")
    return seconds


def _samples(sample: Callable[[int], float], amount: int, seconds: float) -> tuple[float, ...]:
    """Samples of `amount` per second. A first one warms up, and determines how many repetitions fill the time."""
    sample(1)
    repetitions = max(1, round(seconds / (SAMPLES + 1) / max(sample(1), 1e-7)))
    return tuple(repetitions * amount / sample(repetitions) for _ in range(SAMPLES))


def _torch_bandwidth(device: torch.device, num_bytes: int, seconds: float) -> Ceiling:
    """Times a sum on a CPU, which only reads, and a copy elsewhere, whose bytes count twice, as read and written."""
    source = torch.ones(num_bytes // 4, device=device)
    if device.type == "cpu":
        return Ceiling("torch sum", _samples(_timed(device, lambda: source.sum()), num_bytes, seconds))
    copy = torch.empty_like(source)
    return Ceiling("torch copy", _samples(_timed(device, lambda: copy.copy_(source)), 2 * num_bytes, seconds))


def _torch_product(device: torch.device, kind: str, seconds: float) -> Ceiling:
    side = CPU_SIDE if device.type == "cpu" else DEVICE_SIDE
    left = torch.ones(side, side, dtype=getattr(torch, kind), device=device)
    product = torch.empty_like(left)
    sample = _timed(device, lambda: torch.mm(left, left, out=product))
    return Ceiling("torch matmul", _samples(sample, 2 * side**3, seconds))


def _timed(device: torch.device, action: Callable[[], object]) -> Callable[[int], float]:
    """A function that returns the seconds that a number of repetitions take, until the device has finished them."""

    def sample(repetitions: int) -> float:
        began = perf_counter()
        for _ in range(repetitions):
            action()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return perf_counter() - began

    return sample
