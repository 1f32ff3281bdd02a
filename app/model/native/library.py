"""Loads the kernels of `decoder.c`, compiled on this machine or beforehand."""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from pathlib import Path

import torch

from app.model.native import prebuilt
from app.model.native.compiler import NoCompiler, compile_library
from app.model.native.structs import check_layouts
from app.model.native.variants import DEFINES, QUANTIZED, SOURCE

PACKAGES = "Debian, Ubuntu: gcc libc6-dev; Fedora: gcc glibc-devel; Alpine: gcc musl-dev; macOS: xcode-select --install"


class NoKernels(RuntimeError):
    """There are no compiled kernels to be had; the message says why, and what would help."""


@cache
def load_library(dtype: torch.dtype, quantization: str = "none") -> ctypes.CDLL:
    """The compiled kernels for weights of this dtype. Raises NoKernels, or LayoutMismatch if they differ from ours."""
    if str(dtype) not in DEFINES:
        raise NoKernels(f"there are no compiled kernels for {str(dtype).removeprefix('torch.')}: use --dtype bfloat16")
    library = find_library(SOURCE, (*DEFINES[str(dtype)], *QUANTIZED[quantization]))
    check_layouts(library)
    library.create.restype = ctypes.c_void_p
    library.packed_bytes.restype = library.operand_row_bytes.restype = ctypes.c_int64
    return library


def find_library(source: Path, defines: tuple[str, ...]) -> ctypes.CDLL:
    """The library compiled for this processor, or else one compiled beforehand for its level. Raises NoKernels."""
    try:
        return compile_library(source, defines)
    except NoCompiler as error:
        reason = f"{error}: install one ({PACKAGES}), or run the container image, which has the kernels in it"
    except (OSError, subprocess.CalledProcessError) as error:
        details = (getattr(error, "stderr", "") or str(error)).strip()
        reason = f"the compiled kernels cannot be made; is the C compiler complete ({PACKAGES})? It says: {details}"
    library = prebuilt.load(source, defines)
    if library is None:
        raise NoKernels(reason)
    return library
