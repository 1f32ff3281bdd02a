"""Compiles C for this machine, once, and keeps what it made."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

PORTABLE_FLAGS = ("-O3", "-pthread", "-fno-math-errno", "-shared", "-fPIC")
FLAGS = ("-march=native", *PORTABLE_FLAGS)
AMX = frozenset(("amx_tile", "amx_bf16", "amx_int8"))


class NoCompiler(RuntimeError):
    """This machine has no C compiler."""


def compile_library(source: Path, defines: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile one C source for this processor and load it; what was compiled before comes from the cache.

    Raises NoCompiler, CalledProcessError (with the compiler's words in `stderr`) or OSError.
    """
    usable = processor_flags()
    compiler, flags = find_compiler(), (*FLAGS, *(() if usable >= AMX else ("-DWITHOUT_AMX",)), *defines)
    # A home directory may be shared between machines, and `native` means something else on each.
    key = digest(source, compiler, *flags, platform.machine(), *sorted(usable))
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"
    library = directory / f"{source.stem}-{key}.so"
    if not library.exists():
        compile_to(library, source, flags)
    return ctypes.CDLL(str(library))


def compile_to(library: Path, source: Path, flags: tuple[str, ...]) -> None:
    """Raises NoCompiler, CalledProcessError or OSError; a library that is there is whole."""
    compiler = find_compiler()
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        made = Path(scratch) / library.name
        command = [compiler, *flags, "-o", str(made), str(source), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        made.replace(library)


def find_compiler() -> str:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler("there is no C compiler")
    return compiler


def digest(source: Path, *of: str) -> str:
    """A short name for this source, the headers beside it, and whatever else makes a library another one."""
    sources = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    return hashlib.sha256(repr((sources, of)).encode()).hexdigest()[:16]


def processor_flags() -> frozenset[str]:
    """What this processor can do and the system lets us use, in Linux' words; none where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = frozenset(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())
    return flags if flags >= AMX and _may_use_amx() else flags - AMX


def _may_use_amx() -> bool:
    """Linux wants to be asked by each process, since AMX makes every context larger (`arch_prctl` of x86-64)."""
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)
