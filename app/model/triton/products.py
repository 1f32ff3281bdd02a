"""The products of a decoder layer with what comes before and after each of them, for few rows and for many."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
import triton

from app.model.triton.launch import launch_options
from app.model.triton.skinny_kernels import few_rows_kernel, one_row_kernel
from app.model.triton.small_kernels import norm_kernel, silu_multiply_kernel
from app.model.triton.tiling import FEW_ROWS, ONE_ROW, product_tiling

MOST_FEW = 16
"""Rows for which a product is bound by its matrix, whose kernels here are faster than the library's."""


class Products(Protocol):
    """Of `[num_rows, size]` inputs and `[num_outputs, size]` weights. A norm is the root mean square's (Zhang and
    Sennrich 2019)."""

    def of_norm(
        self,
        residual: torch.Tensor,
        norm: torch.Tensor,
        epsilon: float,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor: ...

    def gated_of_norm(
        self, residual: torch.Tensor, norm: torch.Tensor, epsilon: float, gate_up: torch.Tensor
    ) -> torch.Tensor:
        """`silu(gate) * up` (SwiGLU: Shazeer 2020); the gates come first in `gate_up`."""

    def add_to(
        self, residual: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> None:
        """Change `residual` in place."""


class ManyRows:
    """The library's products."""

    def of_norm(
        self,
        residual: torch.Tensor,
        norm: torch.Tensor,
        epsilon: float,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return F.linear(normed(residual, norm, epsilon), weight, bias)

    def gated_of_norm(
        self, residual: torch.Tensor, norm: torch.Tensor, epsilon: float, gate_up: torch.Tensor
    ) -> torch.Tensor:
        return silu_multiply(F.linear(normed(residual, norm, epsilon), gate_up))

    def add_to(
        self, residual: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> None:
        if bias is not None:
            residual += bias
        residual.addmm_(inputs, weight.T)


class FewRows:
    """Kernels that read the matrix once and do all the rest on the way."""

    def of_norm(
        self,
        residual: torch.Tensor,
        norm: torch.Tensor,
        epsilon: float,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        output = residual.new_empty(len(residual), len(weight))
        _launch(residual, weight, output, bias=bias, norm=norm, epsilon=epsilon)
        return output

    def gated_of_norm(
        self, residual: torch.Tensor, norm: torch.Tensor, epsilon: float, gate_up: torch.Tensor
    ) -> torch.Tensor:
        output = residual.new_empty(len(residual), len(gate_up) // 2)
        _launch(residual, gate_up, output, norm=norm, epsilon=epsilon, is_gated=True)
        return output

    def add_to(
        self, residual: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> None:
        _launch(inputs, weight, residual, bias=bias, adds=True)


FEW, MANY = FewRows(), ManyRows()


def products_for(num_rows: int) -> Products:
    return FEW if num_rows <= MOST_FEW else MANY


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
        kernel, kind, constants = few_rows_kernel, FEW_ROWS, {"ROWS": MOST_FEW, "PRECISION": precision}
    tiling = product_tiling(kind, len(weight), weight.element_size())
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
