"""What the compiler gives attention of shared memory, beside what tiles were chosen by, as JSON lines.

python -m tests.triton_room 86

It compiles no further than it must to know, so that every size of heads in every dtype takes no minute.
"""

from __future__ import annotations

import json
import sys
from itertools import product

from triton._C.libtriton import ir, nvidia, passes
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend, get_ptx_version_from_options
from triton.compiler import ASTSource

from app.model.triton.tiling import SHAPES, DoesNotFit, Heads, Tiling, room_for
from tests.triton_compile import BYTES, MEMORY, WARP, attend_source

SIZES = ((32, 32), (64, 64), (80, 80), (128, 128), (192, 128), (256, 256))
GROUPS = (8, 71)


def main(arguments: list[str]) -> None:
    capability = int(arguments[0])
    for kind, (key_size, value_size), dtype, group in product(SHAPES, SIZES, BYTES, GROUPS):
        heads = Heads(group, key_size, value_size, BYTES[dtype])
        asked = {"kind": kind, "sizes": (key_size, value_size), "dtype": dtype, "group": group}
        try:
            source, tiling = attend_source(kind, heads, dtype, MEMORY[capability], has_features=group > 1)
            taken = {"shared": shared_memory(capability, source, tiling), "reckoned": room_for(tiling, heads)}
        except DoesNotFit:
            taken = {"shared": None, "reckoned": None}
        print(json.dumps(asked | taken), flush=True)


def shared_memory(capability: int, source: ASTSource, tiling: Tiling) -> int:
    """Bytes, by the passes of `triton.compile` up to the one that allots them."""
    target = GPUTarget("cuda", capability, WARP)
    backend = CUDABackend(target)
    options = backend.parse_options({"num_warps": tiling.num_warps, "num_stages": tiling.num_stages})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    made = source.make_ir(
        target, options, backend.get_codegen_implementation(options), backend.get_module_map(), context
    )
    metadata = {"target": target, **options.__dict__}
    module = backend.make_ttgir(backend.make_ttir(made, metadata, options, capability), metadata, options, capability)
    manager = ir.pass_manager(context)
    passes.ttgpuir.add_combine_tensor_select_and_if(manager)
    passes.ttgpuir.add_allocate_warp_groups(manager)
    passes.convert.add_scf_to_cf(manager)
    passes.gluon.add_inliner(manager)
    version = get_ptx_version_from_options(options, capability)
    nvidia.passes.ttgpuir.add_allocate_shared_memory_nv(manager, capability, version)
    manager.run(module, "allotting")
    allotted: int = module.get_int_attr("ttg.shared")
    return allotted


if __name__ == "__main__":
    main(sys.argv[1:])
