"""Compile the kernels for NVIDIA chips, with or without one at hand, and say what they take as JSON lines.

python -m tests.triton_compile 90
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from app.model.sampling.draw import NUM_CANDIDATES
from app.model.triton.fused import HEADS_AT_ONCE
from app.model.triton.kernels import attend_kernel
from app.model.triton.sampling import DRAWING_WARPS, READING_WARPS, TILE
from app.model.triton.sampling_kernels import draw_beyond_kernel, gather_most_likely_kernel, most_likely_kernel
from app.model.triton.small_kernels import norm_kernel, rotate_and_store_kernel, silu_multiply_kernel
from app.model.triton.small_m_kernels import few_rows_kernel, one_row_kernel
from app.model.triton.tiling import (
    FEW_ROWS,
    MAX_SMALL_M,
    MAX_SPLITS,
    ONE_ROW,
    SHAPES,
    Heads,
    Kind,
    Tiling,
    product_tiling,
    tiling_of,
)

ALIGNED = ("query", "keys", "values", "output", "query_token_stride", "query_head_stride")
FEATURES = ("HAS_SINKS", "HAS_SOFTCAP", "HAS_WINDOW")
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
WARP = 32
HOPPER = 90
MEMORY = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that a program may take, by compute capability (CUDA C++ Programming Guide)."""


def main(arguments: list[str]) -> None:
    capability = int(arguments[0])
    for kind, shapes in SHAPES.items():
        for head_size in shapes:
            for dtype in ("bf16", "fp32"):
                heads = Heads(4, head_size, head_size, BYTES[dtype])
                source, tiling = attend_source(kind, heads, dtype, MEMORY[capability])
                taken = compiled(capability, source, tiling.num_warps, tiling.num_stages)
                print(json.dumps({"kind": kind, "head_size": head_size, "dtype": dtype, **taken}))
        source, tiling = attend_source(kind, Heads(4, 128, 128, 2), "bf16", MEMORY[capability], has_features=True)
        taken = compiled(capability, source, tiling.num_warps, tiling.num_stages)
        print(json.dumps({"kind": kind, "features": True, **taken}))
    for kind, kernel in ((ONE_ROW, one_row_kernel), (FEW_ROWS, few_rows_kernel)):
        for is_gated, (num_outputs, size) in product((False, True), ((1024, 2048), (4096, 1024), (151_936, 1024))):
            tiling = product_tiling(kind, num_outputs * (1 + is_gated), is_gated, 2, MEMORY[capability])
            source = product_source(kernel, num_outputs, size, is_gated, tiling.tile_n, tiling.tile_k)
            taken = compiled(capability, source, tiling.num_warps, tiling.num_stages)
            print(json.dumps({"kind": kind, "outputs": num_outputs, "gated": is_gated, **taken}))
    for has_norms in (False, True):
        for name, source in small_sources(has_norms).items():
            print(json.dumps({"kind": name, "norms": has_norms, **compiled(capability, source, 8, 3)}))
    for vocab_size in (8192, 151_936):
        for kind, (source, num_warps) in sampling_sources(vocab_size).items():
            print(json.dumps({"kind": kind, "vocabulary": vocab_size, **compiled(capability, source, num_warps, 3)}))


def attend_source(
    kind: Kind, heads: Heads, dtype: str, shared_memory: int, has_features: bool = False
) -> tuple[ASTSource, Tiling]:
    """Attention as it is launched, in its tiles for a chip; with sinks, soft-capping and a window or not."""
    tiling = tiling_of(kind, heads, shared_memory)
    constants = {
        "NUM_HEADS": 8 * heads.group,
        "GROUP": heads.group,
        "BLOCK_SIZE": 16,
        "KEY_SIZE": heads.key_size,
        "VALUE_SIZE": heads.value_size,
        "KEY_PADDED": heads.key_padded,
        "VALUE_PADDED": heads.value_padded,
        "TILE_Q": tiling.tile_q,
        "TILE_M": tiling.tile_m,
        "TILE_N": tiling.tile_n,
        "IS_DECODE": kind != "prefill",
        "IS_SPLIT": kind != "prefill",
        **dict.fromkeys(FEATURES, has_features),
        "PRECISION": "ieee" if dtype == "fp32" else "tf32",
        "IS_DEPENDENT": False,
        **({} if has_features else {"sinks": None}),
        **({"statistics": None} if kind == "prefill" else {"tiles": None}),
    }
    types = {
        **dict.fromkeys(("query", "keys", "values", "sinks"), f"*{dtype}"),
        "output": f"*{dtype}" if kind == "prefill" else "*fp32",
        "statistics": "*fp32",
        **dict.fromkeys(("tiles", "cu_seqlens_q", "seq_lens", "table_width", "block_tables"), "*i32"),
        **dict.fromkeys(("scale", "softcap"), "fp32"),
    }
    return source_of(attend_kernel, types, constants, ALIGNED), tiling


def product_source(kernel: Any, num_outputs: int, size: int, is_gated: bool, tile_n: int, tile_k: int) -> ASTSource:
    """Of a norm in bfloat16."""
    constants = {
        "SIZE": size,
        "NUM_OUTPUTS": num_outputs,
        "TILE_N": tile_n,
        "TILE_K": tile_k,
        "bias": None,
        "HAS_BIAS": False,
        "HAS_NORM": True,
        "IS_GATED": is_gated,
        "ADDS": False,
        "IS_DEPENDENT": False,
        **({"ROWS": MAX_SMALL_M, "PRECISION": "tf32"} if kernel is few_rows_kernel else {}),
    }
    pointers = ("inputs", "weight", "norm_weight", "output")
    return source_of(kernel, dict.fromkeys(pointers, "*bf16") | {"epsilon": "fp32"}, constants, pointers)


def small_sources(has_norms: bool) -> dict[str, ASTSource]:
    """The kernels between the products, for the shape of Qwen3-0.6B or, without norms of heads, Llama-3.1-8B."""
    hidden, heads, inner = (1024, 16, 3072) if has_norms else (4096, 32, 14_336)
    numbers = dict.fromkeys(("inputs", "weight", "normed", "gate_up", "activated"), "*bf16")
    rotating = {
        **dict.fromkeys(("qkv", "query_weight", "key_weight", "keys", "values"), "*bf16"),
        "cosines": "*fp32",
        "sines": "*fp32",
        "positions": "*i64",
        "slot_mapping": "*i64",
        "epsilon": "fp32",
    }
    sizes = {"NUM_HEADS": heads, "NUM_KV_HEADS": 8, "SIZE": 128, "HALF": 64, "HALF_PADDED": 64, "TILE_H": HEADS_AT_ONCE}
    options = {"HAS_NORMS": has_norms} | ({} if has_norms else {"query_weight": None, "key_weight": None})
    dependent = {"IS_DEPENDENT": False}
    return {
        "norm": source_of(
            norm_kernel,
            numbers | {"epsilon": "fp32"},
            {"SIZE": hidden, "PADDED": hidden} | dependent,
            ("inputs", "weight", "normed"),
        ),
        "rotate_and_store": source_of(
            rotate_and_store_kernel, rotating, sizes | options | dependent, ("qkv", "keys", "values")
        ),
        "silu_multiply": source_of(
            silu_multiply_kernel, numbers, {"SIZE": inner, "TILE": 1024} | dependent, ("gate_up", "activated")
        ),
    }


def sampling_sources(vocab_size: int) -> dict[str, tuple[ASTSource, int]]:
    """And their warps; the most likely of bfloat16 logits."""
    floats = dict.fromkeys(("probabilities", "candidates", "columns"), "*fp32")
    drawn = floats | {"lacking": "*i1", "token_ids": "*i64"}
    parts = {"logits": "*bf16", "largest": "*fp32", "first": "*i32", "token_ids": "*i64"}
    sizes = {"VOCAB": vocab_size, "TILE": TILE}
    return {
        "draw_beyond": (
            source_of(draw_beyond_kernel, drawn, sizes | {"NUM_CANDIDATES": NUM_CANDIDATES}, [*drawn]),
            DRAWING_WARPS,
        ),
        "most_likely": (source_of(most_likely_kernel, parts, sizes, ("logits", "largest", "first")), READING_WARPS),
        "gather_most_likely": (
            source_of(
                gather_most_likely_kernel,
                parts,
                {"VOCAB": vocab_size, "MAX_PARTS": MAX_SPLITS},
                ("largest", "first", "token_ids"),
            ),
            1,
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
    if capability >= HOPPER and "IS_DEPENDENT" in source.fn.arg_names:  # as `launch_options` says
        source.constants[source.fn.arg_names.index("IS_DEPENDENT"),] = True
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
