"""Attention alone: decoding beside what the memory gives, prompts beside what the matrix units do."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.layer import Layer, heads_of
from tests.bench.gpu.scale import Scale, peaks

DECODES = {(64, 8192): 0.8, (64, 1024): None, (256, 1024): None, (1, 32_768): None}
"""Rows and context, and the share of the copy bandwidth to be reached."""
PREFILLS = {(1, 8192, 8192): 0.55, (1, 2048, 2048): None, (1, 2048, 16_384): None, (16, 512, 512): None}
"""Rows, queries and context, and the share of the product rate to be reached."""


def measure(scale: Scale, tell: Tell) -> None:
    scale.needs_triton()
    most = peaks(scale)
    for name in scale.few(("8B", "0.6B")):
        for (rows, context), aim in scale.few(DECODES.items()):
            what = f"decode {rows} x {context:,}, heads of {name}"
            if tell.known(what, scale.runs):
                continue
            layer = Layer(*heads_of(scale, name), scale.of(rows, 2), 1, scale.of(context, 20))
            shares = [
                layer.bytes_read / time / most.bytes_per_second
                for time in scale.times(scale.recorded(layer.make(scale)))
            ]
            tell(Figure("attention", what, tuple(shares), "of copy", at_least=aim))
        for (rows, queries, context), aim in scale.few(PREFILLS.items()):
            what = f"prefill {rows} x {queries:,} over {context:,}, heads of {name}"
            if tell.known(what, scale.runs):
                continue
            layer = Layer(*heads_of(scale, name), scale.of(rows, 1), scale.of(queries, 5), scale.of(context, 20))
            shares = [
                layer.operations / time / most.operations_per_second
                for time in scale.times(scale.recorded(layer.make(scale)))
            ]
            tell(Figure("attention", what, tuple(shares), "of product", at_least=aim))
        tell(beside(scale, name, most.operations_per_second))


def beside(scale: Scale, name: str, operations_per_second: float) -> Figure:
    """torch's own fused attention of one whole prompt, contiguous."""
    num_heads, num_kv_heads, size = heads_of(scale, name)
    length = scale.of(8192, 20)
    layer = Layer(num_heads, num_kv_heads, size, 1, length, length)
    query, keys, values = (
        torch.randn(1, heads, length, size, device=scale.device, dtype=scale.dtype)
        for heads in (num_heads, num_kv_heads, num_kv_heads)
    )
    attend = lambda: F.scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=True)  # noqa: E731
    times = scale.times(scale.recorded(attend))
    shares = tuple(layer.operations / time / operations_per_second for time in times)
    return Figure("attention", f"torch's own, {length:,}, heads of {name}", shares, "of product")
