"""Libraries compiled beforehand, one for each level of processor: for an image that carries no compiler."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from app.model.native.compiler import AMX, PORTABLE_FLAGS, compile_to, digest, processor_flags

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
"""Flags for the compiler, and what code made with them needs of a processor, in Linux' words; the best comes last.

They are levels of the x86-64 psABI with single extensions, not names of processors: so it is known what they need.
"""


def load(source: Path, defines: tuple[str, ...]) -> ctypes.CDLL | None:
    """The library of the highest level that this processor has, or None where there is none."""
    has = processor_flags()
    for level, (flags, needed) in reversed(LEVELS.items()):
        path = _path(source, level, (*flags, *defines))
        if needed <= has and path.exists():
            logger.info("kernels compiled beforehand for %s", level)
            return ctypes.CDLL(str(path))
    return None


def build(source: Path, kinds: list[tuple[str, ...]]) -> None:
    """Compile each of these sets of defines for every level. Raises NoCompiler, CalledProcessError or OSError."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for level in LEVELS if platform.machine() == "x86_64" else ("baseline",):
            list(pool.map(partial(_build, source, level), kinds))


def _build(source: Path, level: str, defines: tuple[str, ...]) -> None:
    flags = (*LEVELS[level][0], *defines)
    compile_to(_path(source, level, flags), source, (*PORTABLE_FLAGS, *flags))


def _path(source: Path, level: str, flags: tuple[str, ...]) -> Path:
    """Its name follows from the source, so that what was made from another is never found."""
    return DIRECTORY / f"{source.stem}-{level}-{digest(source, *flags)}.so"
