"""Compile the attention kernels for NVIDIA chips, with or without one at hand, and say what they take as JSON lines.

python -m tests.triton_compile 90
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from app.model.triton.kernels import attend_kernel
from app.model.triton.tiling import SHAPES, Kind, tiling_of

ALIGNED = ("query", "keys", "values", "output", "query_token_stride", "query_head_stride")
WARP = 32


def main(arguments: list[str]) -> None:
    for kind, shapes in SHAPES.items():
        for head_size in shapes:
            print(json.dumps({"kind": kind, "head_size": head_size, **compiled(int(arguments[0]), kind, head_size)}))


def compiled(capability: int, kind: Kind, head_size: int, group: int = 4) -> dict[str, Any]:
    """Bytes of shared memory and of spilled registers, and whether tensor cores and asynchronous copies are used.

    `capability`: 90 is Hopper's.
    """
    tiling = tiling_of(kind, group, head_size)
    constants = {
        "NUM_HEADS": 8 * group,
        "GROUP": group,
        "BLOCK_SIZE": 16,
        "KEY_SIZE": head_size,
        "VALUE_SIZE": head_size,
        "KEY_PADDED": head_size,
        "VALUE_PADDED": head_size,
        "TILE_Q": tiling.tile_q,
        "TILE_M": tiling.tile_m,
        "TILE_N": tiling.tile_n,
        "IS_SHARE": kind == "decode",
        "HAS_SINKS": False,
        "HAS_SOFTCAP": False,
        "HAS_WINDOW": False,
        "PRECISION": "tf32",
        "sinks": None,
        **({} if kind == "decode" else {"statistics": None}),
    }
    types = {
        **dict.fromkeys(("query", "keys", "values"), "*bf16"),
        "output": "*fp32" if kind == "decode" else "*bf16",
        "statistics": "*fp32",
        **dict.fromkeys(("tiles", "cu_seqlens_q", "seq_lens", "block_tables"), "*i32"),
        **dict.fromkeys(("scale", "softcap"), "fp32"),
    }
    names = attend_kernel.arg_names
    source = ASTSource(
        attend_kernel,
        {name: "constexpr" if name in constants else types.get(name, "i32") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in ALIGNED},
    )
    kernel = triton.compile(
        source,
        target=GPUTarget("cuda", capability, WARP),
        options={"num_warps": tiling.num_warps, "num_stages": tiling.num_stages},
    )
    assembly = kernel.asm["ptx"]
    return {
        "shared": kernel.metadata.shared,
        "spilled": spilled(kernel.asm["cubin"]),
        "multiplies_in_tiles": "wgmma" in assembly or "mma.sync" in assembly,
        "copies_ahead": "cp.async" in assembly,
    }


def spilled(binary: bytes) -> int:
    """Bytes of local memory per thread, by the tool that comes with Triton."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        usage = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    fields = dict(field.split(":", 1) for field in usage.stdout.splitlines()[-1].split() if ":" in field)
    return int(fields["STACK"]) + int(fields["LOCAL"])


if __name__ == "__main__":
    main(sys.argv[1:])
