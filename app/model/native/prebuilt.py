"""Libraries compiled beforehand, one for each level of processor, for an image that has no compiler."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from app.model.native.compiler import AMX, PORTABLE_FLAGS, compile_to, digest, processor_flags
from app.model.native.intact import load_intact, publish

logger = logging.getLogger("millrace.engine")

DIRECTORY = Path(__file__).with_name("prebuilt")

V3 = frozenset(("avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"))
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
V4_BF16 = V4 | {"avx512_vnni", "avx512_bf16"}
TO_BF16 = ("-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16")

LEVELS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "baseline": ((), frozenset()),
    "x86-64-v3": (("-march=x86-64-v3",), V3),
    "x86-64-v4": (("-march=x86-64-v4",), V4),
    "x86-64-v4-vnni": (("-march=x86-64-v4", "-mavx512vnni"), V4 | {"avx512_vnni"}),
    "x86-64-v4-bf16": (TO_BF16, V4_BF16),
    "x86-64-v4-amx": ((*TO_BF16, "-mamx-tile", "-mamx-bf16", "-mamx-int8"), V4_BF16 | AMX),
}
"""The compiler's flags for each level, and the processor features that its code needs, as Linux names them; best last.

Levels are those of the x86-64 psABI plus single extensions, not names of processors, so that it is known what each
needs.
"""


def load(source: Path, defines: tuple[str, ...]) -> ctypes.CDLL | None:
    """The library of the highest level that this processor supports, or None if none of them is intact."""
    has = processor_flags()
    for level, (_, needed) in reversed(LEVELS.items()):
        if needed <= has and (library := load_intact(path_of(source, level, defines))) is not None:
            logger.info("kernels compiled beforehand for %s", level)
            return library
    return None


def build(source: Path, kinds: list[tuple[str, ...]]) -> None:
    """Compile each of these sets of defines for every level. Raises NoCompiler, CalledProcessError or OSError."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for level in LEVELS if platform.machine() == "x86_64" else ("baseline",):
            list(pool.map(partial(_build, source, level), kinds))


def path_of(source: Path, level: str, defines: tuple[str, ...]) -> Path:
    """The name follows from the source, so that a library made from another source is never found."""
    return DIRECTORY / f"{source.stem}-{level}-{digest(source, *LEVELS[level][0], *defines)}.so"


def _build(source: Path, level: str, defines: tuple[str, ...]) -> None:
    library = path_of(source, level, defines)
    with tempfile.TemporaryDirectory(prefix="millrace-") as private:
        made = Path(private) / library.name
        compile_to(made, source, (*PORTABLE_FLAGS, *LEVELS[level][0], *defines))
        publish(made, library)
