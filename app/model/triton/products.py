"""The products of a decoder layer with what comes before and after each of them.

Few rows go through kernels that read the matrix once and do the rest in passing, many through the library's GEMM.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton

from app.model.triton.launch import launch_options
from app.model.triton.small_kernels import norm_kernel, silu_multiply_kernel
from app.model.triton.small_m_kernels import few_rows_kernel, one_row_kernel
from app.model.triton.tiling import FEW_ROWS, MAX_SMALL_M, ONE_ROW, product_tiling, shared_memory_of


def of_norm(
    residual: torch.Tensor, norm: torch.Tensor, epsilon: float, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Product of the root-mean-square norm (Zhang and Sennrich 2019) of `[num_rows, size]` residuals with
    `[num_outputs, size]` weights."""
    if len(residual) > MAX_SMALL_M:
        return F.linear(normed(residual, norm, epsilon), weight, bias)
    output = residual.new_empty(len(residual), len(weight))
    _launch(residual, weight, output, bias=bias, norm=norm, epsilon=epsilon)
    return output


def gated_of_norm(residual: torch.Tensor, norm: torch.Tensor, epsilon: float, gate_up: torch.Tensor) -> torch.Tensor:
    """The same, as `silu(gate) * up` (SwiGLU: Shazeer 2020); the gates come first in `gate_up`."""
    if len(residual) > MAX_SMALL_M:
        return silu_multiply(F.linear(normed(residual, norm, epsilon), gate_up))
    output = residual.new_empty(len(residual), len(gate_up) // 2)
    _launch(residual, gate_up, output, norm=norm, epsilon=epsilon, is_gated=True)
    return output


def add_product(
    residual: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> None:
    """Add the product of `inputs` and `weight` to `residual`, in place."""
    if len(residual) > MAX_SMALL_M:
        if bias is not None:
            residual += bias
        residual.addmm_(inputs, weight.T)
    else:
        _launch(inputs, weight, residual, bias=bias, adds=True)


def _launch(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    output: torch.Tensor,
    bias: torch.Tensor | None = None,
    norm: torch.Tensor | None = None,
    epsilon: float = 0.0,
    is_gated: bool = False,
    adds: bool = False,
) -> None:
    num_rows, num_outputs = output.shape
    if num_rows == 1:
        kernel, kind, constants = one_row_kernel, ONE_ROW, {}
    else:
        precision = "ieee" if weight.dtype == torch.float32 else "tf32"
        kernel, kind, constants = few_rows_kernel, FEW_ROWS, {"ROWS": MAX_SMALL_M, "PRECISION": precision}
    memory = shared_memory_of(weight.device)
    tiling = product_tiling(kind, len(weight), is_gated, weight.element_size(), memory)
    kernel[(triton.cdiv(num_outputs, tiling.tile_n),)](
        inputs,
        weight,
        bias,
        norm,
        output,
        num_rows,
        epsilon,
        SIZE=weight.shape[1],
        NUM_OUTPUTS=num_outputs,
        TILE_N=tiling.tile_n,
        TILE_K=tiling.tile_k,
        HAS_BIAS=bias is not None,
        HAS_NORM=norm is not None,
        IS_GATED=is_gated,
        ADDS=adds,
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
        **constants,
        **launch_options(weight.device),
    )


def normed(residual: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The norm of `[num_tokens, size]` residuals."""
    num_tokens, size = residual.shape
    output = torch.empty_like(residual)
    padded = triton.next_power_of_2(size)
    num_warps = min(16, max(1, padded // 512))
    options = launch_options(output.device)
    norm_kernel[(num_tokens,)](
        residual, weight, output, epsilon, SIZE=size, PADDED=padded, num_warps=num_warps, **options
    )
    return output


def silu_multiply(gate_up: torch.Tensor) -> torch.Tensor:
    """`silu(gate) * up` of `[num_tokens, gate and up]`."""
    num_tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    activated = gate_up.new_empty(num_tokens, size)
    tile = min(1024, triton.next_power_of_2(size))
    silu_multiply_kernel[(num_tokens, triton.cdiv(size, tile))](
        gate_up, activated, SIZE=size, TILE=tile, **launch_options(activated.device)
    )
    return activated
