"""The libraries that `decoder.c` is compiled to: one for each dtype and precision of the weights.

`python -m app.model.native.variants` compiles them all beforehand, for an image that carries no compiler. There nothing
but this directory and the standard library is needed.
"""

from __future__ import annotations

from pathlib import Path

from app.model.native import prebuilt

SOURCE = Path(__file__).with_name("decoder.c")
DEFINES = {"torch.float32": (), "torch.bfloat16": ("-DBF16",)}
QUANTIZED = {"none": (), "int8": ("-DQUANTIZATION=8",), "int4": ("-DQUANTIZATION=4",)}

if __name__ == "__main__":
    prebuilt.build(SOURCE, [(*dtype, *quantized) for dtype in DEFINES.values() for quantized in QUANTIZED.values()])
