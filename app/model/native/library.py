"""Compiles C for this machine, once, and loads it: the kernels of `decoder.c` above all."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

logger = logging.getLogger("millrace.engine")

SOURCE = Path(__file__).with_name("decoder.c")
FLAGS = ("-O3", "-march=native", "-pthread", "-fno-math-errno", "-shared", "-fPIC")
DEFINES = {torch.float32: (), torch.bfloat16: ("-DBF16",)}
QUANTIZED = {"none": (), "int8": ("-DQUANTIZATION=8",), "int4": ("-DQUANTIZATION=4",)}


class NoCompiler(RuntimeError):
    """This machine has no C compiler."""


@cache
def load_library(dtype: torch.dtype, quantization: str = "none") -> ctypes.CDLL | None:
    """The compiled kernels for weights of this dtype, or None, with the reason logged, where they cannot be made."""
    if dtype not in DEFINES:
        return None
    try:
        library = compile_library(SOURCE, (*DEFINES[dtype], *QUANTIZED[quantization]))
    except NoCompiler:
        logger.info("no C compiler: the model runs on torch's own operators, which decode more slowly")
        return None
    except (OSError, subprocess.CalledProcessError) as error:
        details = getattr(error, "stderr", "") or error
        logger.warning("the CPU kernels cannot be compiled (the model runs on torch's own operators): %s", details)
        return None
    library.create.restype = ctypes.c_void_p
    library.packed_bytes.restype = library.operand_row_bytes.restype = ctypes.c_int64
    return library


def compile_library(source: Path, defines: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile one C source for this processor and load it; what was compiled before comes from the cache.

    Raises NoCompiler, CalledProcessError (with the compiler's words in `stderr`) or OSError.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler("there is no C compiler")
    return ctypes.CDLL(str(_compiled(source, compiler, (*FLAGS, *defines))))


def _compiled(source: Path, compiler: str, flags: tuple[str, ...]) -> Path:
    """The shared library, from the cache if this source was compiled with these flags on this processor before."""
    sources = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    key = hashlib.sha256(repr((sources, compiler, flags, _processor())).encode()).hexdigest()[:16]
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"
    library = directory / f"{source.stem}-{key}.so"
    if not library.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            made = Path(scratch) / library.name
            command = [compiler, *flags, "-o", str(made), str(source), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(library)
    return library


def _processor() -> str:
    """What `-march=native` means here: a home directory may be shared between different machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return platform.machine() + next((line for line in lines if line.startswith("flags")), "")
