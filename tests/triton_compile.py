"""Compile the kernels for NVIDIA chips, with or without one at hand, and say what they take as JSON lines.

python -m tests.triton_compile 90
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from app.model.triton.kernels import attend_kernel
from app.model.triton.small_kernels import add_norm_kernel, rotate_and_store_kernel, silu_multiply_kernel
from app.model.triton.tiling import SHAPES, Kind, tiling_of

ALIGNED = ("query", "keys", "values", "output", "query_token_stride", "query_head_stride")
FEATURES = ("HAS_SINKS", "HAS_SOFTCAP", "HAS_WINDOW")
WARP = 32


def main(arguments: list[str]) -> None:
    capability = int(arguments[0])
    for kind, shapes in SHAPES.items():
        for head_size in shapes:
            for dtype in ("bf16", "fp32"):
                attention = attend_source(kind, head_size, dtype)
                taken = compiled(capability, *attention)
                print(json.dumps({"kind": kind, "head_size": head_size, "dtype": dtype, **taken}))
        taken = compiled(capability, *attend_source(kind, 128, "bf16", has_features=True))
        print(json.dumps({"kind": kind, "features": True, **taken}))
    for has_norms in (False, True):
        for name, source in small_sources(has_norms).items():
            print(json.dumps({"kind": name, "norms": has_norms, **compiled(capability, source, 4, 3)}))


def attend_source(kind: Kind, head_size: int, dtype: str, has_features: bool = False) -> tuple[ASTSource, int, int]:
    """Attention as it is launched, and with how many warps and stages; with sinks, soft-capping and a window or not."""
    group = 4
    tiling = tiling_of(kind, group, head_size, 4 if dtype == "fp32" else 2)
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
        **dict.fromkeys(FEATURES, has_features),
        "PRECISION": "ieee" if dtype == "fp32" else "tf32",
        **({} if has_features else {"sinks": None}),
        **({} if kind == "decode" else {"statistics": None}),
    }
    types = {
        **dict.fromkeys(("query", "keys", "values", "sinks"), f"*{dtype}"),
        "output": "*fp32" if kind == "decode" else f"*{dtype}",
        "statistics": "*fp32",
        **dict.fromkeys(("tiles", "cu_seqlens_q", "seq_lens", "block_tables"), "*i32"),
        **dict.fromkeys(("scale", "softcap"), "fp32"),
    }
    return source_of(attend_kernel, types, constants, ALIGNED), tiling.num_warps, tiling.num_stages


def small_sources(has_norms: bool) -> dict[str, ASTSource]:
    """The kernels between the products, for the shape of Qwen3-0.6B or, without norms of heads, Llama-3.1-8B."""
    hidden, heads, inner = (1024, 16, 3072) if has_norms else (4096, 32, 14_336)
    numbers = dict.fromkeys(("residual", "delta", "weight", "normed", "gate_up", "activated"), "*bf16")
    rotating = {
        **dict.fromkeys(("qkv", "query_weight", "key_weight", "keys", "values"), "*bf16"),
        "cosines": "*fp32",
        "sines": "*fp32",
        "positions": "*i64",
        "slot_mapping": "*i64",
        "epsilon": "fp32",
    }
    sizes = {"NUM_HEADS": heads, "NUM_KV_HEADS": 8, "SIZE": 128, "HALF": 64, "HALF_PADDED": 64}
    no_norms = {} if has_norms else {"query_weight": None, "key_weight": None}
    return {
        "add_norm": source_of(
            add_norm_kernel,
            numbers | {"epsilon": "fp32"},
            {"SIZE": hidden, "PADDED": hidden, "HAS_DELTA": True},
            ("residual", "delta", "weight", "normed"),
        ),
        "rotate_and_store": source_of(
            rotate_and_store_kernel, rotating, sizes | no_norms | {"HAS_NORMS": has_norms}, ("qkv", "keys", "values")
        ),
        "silu_multiply": source_of(
            silu_multiply_kernel, numbers, {"SIZE": inner, "TILE": 1024}, ("gate_up", "activated")
        ),
    }


def source_of(kernel: Any, types: dict[str, str], constants: dict[str, Any], aligned: Sequence[str]) -> ASTSource:
    """A kernel with arguments of these types, int32 where none is given, of which some are divisible by 16."""
    names = kernel.arg_names
    return ASTSource(
        kernel,
        {name: "constexpr" if name in constants else types.get(name, "i32") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )


def compiled(capability: int, source: ASTSource, num_warps: int, num_stages: int) -> dict[str, Any]:
    """Bytes of shared memory and of spilled registers, and whether tensor cores and asynchronous copies are used.

    `capability`: 90 is Hopper's.
    """
    options = {"num_warps": num_warps, "num_stages": num_stages}
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, WARP), options=options)
    assembly = kernel.asm["ptx"]
    return {
        "shared": kernel.metadata.shared,
        "spilled": spilled(kernel.asm["cubin"]),
        "multiplies_in_tiles": "wgmma" in assembly or "mma.sync" in assembly,
        "copies_ahead": "cp.async" in assembly,
        "reads_widely": "ld.global.v4" in assembly or "cp.async.cg" in assembly,
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
