"""Loads the kernels of `decoder.c`, compiled on this machine or beforehand.

`python -m app.model.native.library` compiles them beforehand, for an image that carries no compiler.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.model.native import prebuilt
from app.model.native.compiler import NoCompiler, compile_library

if TYPE_CHECKING:
    import torch  # kernels are compiled for an image where torch is not installed yet

logger = logging.getLogger("millrace.engine")

SOURCE = Path(__file__).with_name("decoder.c")
DEFINES = {"torch.float32": (), "torch.bfloat16": ("-DBF16",)}
QUANTIZED = {"none": (), "int8": ("-DQUANTIZATION=8",), "int4": ("-DQUANTIZATION=4",)}


@cache
def load_library(dtype: torch.dtype, quantization: str = "none") -> ctypes.CDLL | None:
    """The compiled kernels for weights of this dtype, or None, with the reason logged, where they cannot be had."""
    if str(dtype) not in DEFINES:
        return None
    defines = (*DEFINES[str(dtype)], *QUANTIZED[quantization])
    try:
        library = compile_library(SOURCE, defines)
    except NoCompiler:
        found = prebuilt.load(SOURCE, defines)
        if found is None:
            logger.info("no C compiler: the model runs on torch's own operators, which decode more slowly")
            return None
        library = found
    except (OSError, subprocess.CalledProcessError) as error:
        details = getattr(error, "stderr", "") or error
        logger.warning("the CPU kernels cannot be compiled (the model runs on torch's own operators): %s", details)
        return None
    library.create.restype = ctypes.c_void_p
    library.packed_bytes.restype = library.operand_row_bytes.restype = ctypes.c_int64
    return library


if __name__ == "__main__":
    prebuilt.build(SOURCE, [(*dtype, *quantized) for dtype in DEFINES.values() for quantized in QUANTIZED.values()])
