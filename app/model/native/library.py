"""Loads the kernels of `decoder.c`, compiled on this machine or beforehand.

`python -m app.model.native.library` compiles them beforehand, for an image that carries no compiler.
"""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.model.native import prebuilt
from app.model.native.compiler import NoCompiler, compile_library
from app.model.native.structs import check_layouts

if TYPE_CHECKING:
    import torch  # kernels are compiled for an image where torch is not installed yet

SOURCE = Path(__file__).with_name("decoder.c")
DEFINES = {"torch.float32": (), "torch.bfloat16": ("-DBF16",)}
PACKAGES = "Debian, Ubuntu: gcc libc6-dev; Fedora: gcc glibc-devel; Alpine: gcc musl-dev; macOS: xcode-select --install"
QUANTIZED = {"none": (), "int8": ("-DQUANTIZATION=8",), "int4": ("-DQUANTIZATION=4",)}


class NoKernels(RuntimeError):
    """The compiled kernels cannot be had; in words for the operator, with what would help."""


@cache
def load_library(dtype: torch.dtype, quantization: str = "none") -> ctypes.CDLL:
    """The compiled kernels for weights of this dtype. Raises NoKernels, or LayoutMismatch if they are not these."""
    if str(dtype) not in DEFINES:
        raise NoKernels(f"there are no compiled kernels for {str(dtype).removeprefix('torch.')}: use --dtype bfloat16")
    library = find_library(SOURCE, (*DEFINES[str(dtype)], *QUANTIZED[quantization]))
    check_layouts(library)
    library.create.restype = ctypes.c_void_p
    library.packed_bytes.restype = library.operand_row_bytes.restype = ctypes.c_int64
    return library


def find_library(source: Path, defines: tuple[str, ...]) -> ctypes.CDLL:
    """Compiled for this processor, else beforehand for one like it. Raises NoKernels."""
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


if __name__ == "__main__":
    prebuilt.build(SOURCE, [(*dtype, *quantized) for dtype in DEFINES.values() for quantized in QUANTIZED.values()])
