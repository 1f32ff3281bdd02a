"""Compiles C for this machine once, and keeps the library in a cache."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.model.native.intact import load_intact, publish

logger = logging.getLogger("millrace.engine")

PORTABLE_FLAGS = ("-O3", "-pthread", "-fno-math-errno", "-shared", "-fPIC")
FLAGS = ("-march=native", *PORTABLE_FLAGS)
AMX = frozenset(("amx_tile", "amx_bf16", "amx_int8"))


class NoCompiler(RuntimeError):
    """This machine has no C compiler."""


def compile_library(source: Path, defines: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile one C source for this processor and load it, or load it from the cache if it was compiled before.

    Where the cache cannot be used, a line of the log says why, and the library is compiled again at each start.
    Raises NoCompiler, CalledProcessError (with the compiler's messages in `stderr`) or OSError.
    """
    usable = processor_flags()
    compiler, flags = find_compiler(), (*FLAGS, *(() if usable >= AMX else ("-DWITHOUT_AMX",)), *defines)
    # A home directory may be shared between machines, and `native` means something else on each.
    key = digest(source, *compiler, *flags, platform.machine(), *sorted(usable))
    kept = cache_directory() / f"{source.stem}-{key}.so"
    return load_intact(kept) or _compile_and_keep(kept, source, flags)


def _compile_and_keep(kept: Path, source: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    """Compile in a private temporary directory, which may be on a file system that forbids running programs."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as private:
        made = Path(private) / kept.name
        compile_to(made, source, flags)
        try:
            publish(made, kept)
        except OSError as error:
            logger.warning(
                "the compiled kernels cannot be kept, and are compiled at each start (%s): set XDG_CACHE_HOME to a "
                "directory that can be written to",
                error,
            )
            return ctypes.CDLL(str(made))
        return load_intact(kept) or ctypes.CDLL(str(made))


def cache_directory() -> Path:
    """Where libraries are kept. It need not exist; for a user without a home it is below `/dev/null`."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(os.devnull)
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "millrace"


def compile_to(library: Path, source: Path, flags: tuple[str, ...]) -> None:
    """Raises NoCompiler, CalledProcessError or OSError."""
    command = [*find_compiler(), *flags, "-o", str(library), str(source), "-lm"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    if not library.exists():
        raise OSError(f"{shlex.join(command[:1])} ended without an error and compiled nothing")


def find_compiler() -> list[str]:
    """The command that CC names, which may have arguments (`ccache gcc`), or `cc`."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    program = shutil.which(command[0])
    if program is None:
        raise NoCompiler(f"there is no C compiler ({shlex.join(command)})")
    return [program, *command[1:]]


def digest(source: Path, *of: str) -> str:
    """A short digest of this source, the headers beside it, and everything else that changes the library."""
    sources = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    return hashlib.sha256(repr((sources, of)).encode()).hexdigest()[:16]


def processor_flags() -> frozenset[str]:
    """What this processor can do and the system lets us use, as Linux names it; empty where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = frozenset(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())
    return flags if flags >= AMX and _may_use_amx() else flags - AMX


def _may_use_amx() -> bool:
    """Ask Linux for AMX, as each process has to, since it makes every context larger (`arch_prctl` of x86-64)."""
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)
