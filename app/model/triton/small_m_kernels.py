"""Products of few rows with large matrices (small-M GEMM), fused with what comes before and after them.

With few rows, reading the matrix dominates the cost of a product, and the number of kernels dominates a small model's
step. So the norm before a product, the activation after it and the residual addition are computed in the same kernel.
A kernel starts before the previous one has ended (programmatic dependent launch), and waits before reading its result.
"""

from __future__ import annotations

import triton
import triton.language as tl

from app.model.triton.small_kernels import wait


@triton.jit
def one_row_kernel(
    inputs,  # [1, SIZE]
    weight,  # [NUM_OUTPUTS, SIZE]; gated: [2 * NUM_OUTPUTS, SIZE], the gates first
    bias,  # [NUM_OUTPUTS]
    norm_weight,  # [SIZE]
    output,  # [1, NUM_OUTPUTS]
    num_rows,  # 1
    epsilon,
    SIZE: tl.constexpr,
    NUM_OUTPUTS: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_NORM: tl.constexpr,
    IS_GATED: tl.constexpr,
    ADDS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """A few outputs of one row. Each tile is multiplied elementwise while the next one is being loaded."""
    outputs, dims = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N), tl.arange(0, TILE_K)
    weights = weight + outputs.to(tl.int64)[:, None] * SIZE + dims[None, :]
    ups: tl.constexpr = NUM_OUTPUTS * SIZE
    is_output = (outputs < NUM_OUTPUTS)[:, None]
    tile = tl.load(weights, mask=is_output & (dims < SIZE)[None, :], other=0.0)
    if IS_GATED:
        up_tile = tl.load(weights + ups, mask=is_output & (dims < SIZE)[None, :], other=0.0)
    wait(IS_DEPENDENT)
    total = tl.zeros([TILE_N, TILE_K], dtype=tl.float32)
    squares = tl.zeros([TILE_K], dtype=tl.float32)
    if IS_GATED:
        up_total = total
    for begin in range(0, SIZE, TILE_K):
        next_tile = tl.load(
            weights + begin + TILE_K, mask=is_output & (begin + TILE_K + dims < SIZE)[None, :], other=0.0
        )
        if IS_GATED:
            next_up_tile = tl.load(
                weights + ups + begin + TILE_K, mask=is_output & (begin + TILE_K + dims < SIZE)[None, :], other=0.0
            )
        values = tl.load(inputs + begin + dims, mask=begin + dims < SIZE, other=0.0).to(tl.float32)
        if HAS_NORM:
            squares += values * values
            values *= tl.load(norm_weight + begin + dims, mask=begin + dims < SIZE, other=0.0).to(tl.float32)
        total += tile.to(tl.float32) * values[None, :]
        tile = next_tile
        if IS_GATED:
            up_total += up_tile.to(tl.float32) * values[None, :]
            up_tile = next_up_tile
    factor = 1.0
    if HAS_NORM:
        factor = tl.rsqrt(tl.sum(squares, 0) / SIZE + epsilon)
    given = (tl.sum(total, 1) * factor)[:, None]
    up_given = given
    if IS_GATED:
        up_given = (tl.sum(up_total, 1) * factor)[:, None]
    finish(given, up_given, outputs, bias, output, num_rows, NUM_OUTPUTS, 1, HAS_BIAS, IS_GATED, ADDS)


@triton.jit(do_not_specialize=["num_rows"])
def few_rows_kernel(
    inputs,  # [num_rows, SIZE]
    weight,  # [NUM_OUTPUTS, SIZE]; gated: [2 * NUM_OUTPUTS, SIZE], the gates first
    bias,  # [NUM_OUTPUTS]
    norm_weight,  # [SIZE]
    output,  # [num_rows, NUM_OUTPUTS]
    num_rows,
    epsilon,
    SIZE: tl.constexpr,
    NUM_OUTPUTS: tl.constexpr,
    ROWS: tl.constexpr,  # at least num_rows, and at least the minimum of the matrix units
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_NORM: tl.constexpr,
    IS_GATED: tl.constexpr,
    ADDS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A few outputs of every row, computed by the matrix units."""
    outputs, dims, members = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N), tl.arange(0, TILE_K), tl.arange(0, ROWS)
    weights = weight + outputs.to(tl.int64)[:, None] * SIZE + dims[None, :]
    rows = inputs + members.to(tl.int64)[:, None] * SIZE + dims[None, :]
    ups: tl.constexpr = NUM_OUTPUTS * SIZE
    is_output, is_row = (outputs < NUM_OUTPUTS)[:, None], (members < num_rows)[:, None]
    wait(IS_DEPENDENT)
    total = tl.zeros([TILE_N, ROWS], dtype=tl.float32)
    squares = tl.zeros([ROWS, TILE_K], dtype=tl.float32)
    if IS_GATED:
        up_total = total
    for begin in range(0, SIZE, TILE_K):
        is_dim = (begin + dims < SIZE)[None, :]
        tile = tl.load(weights + begin, mask=is_output & is_dim, other=0.0)
        values = tl.load(rows + begin, mask=is_row & is_dim, other=0.0)
        if HAS_NORM:
            exact = values.to(tl.float32)
            squares += exact * exact
            scales = tl.load(norm_weight + begin + dims[None, :], mask=is_dim, other=0.0).to(tl.float32)
            values = (exact * scales).to(values.dtype)
        columns = tl.trans(values)
        total = tl.dot(tile, columns, total, input_precision=PRECISION)
        if IS_GATED:
            up_tile = tl.load(weights + ups + begin, mask=is_output & is_dim, other=0.0)
            up_total = tl.dot(up_tile, columns, up_total, input_precision=PRECISION)
    given, up_given = total, total
    if IS_GATED:
        up_given = up_total
    if HAS_NORM:
        factors = tl.rsqrt(tl.sum(squares, 1) / SIZE + epsilon)[None, :]
        given, up_given = given * factors, up_given * factors
    finish(given, up_given, outputs, bias, output, num_rows, NUM_OUTPUTS, ROWS, HAS_BIAS, IS_GATED, ADDS)


@triton.jit
def finish(
    given,  # float32 [TILE_N, ROWS]
    up_given,  # likewise
    outputs,  # [TILE_N]
    bias,
    output,
    num_rows,
    NUM_OUTPUTS: tl.constexpr,
    ROWS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    IS_GATED: tl.constexpr,
    ADDS: tl.constexpr,
):
    """Add the bias, or gate (SwiGLU: Shazeer 2020), add to what the output holds, and store."""
    members, is_output = tl.arange(0, ROWS), outputs < NUM_OUTPUTS
    if HAS_BIAS:
        given += tl.load(bias + outputs, mask=is_output, other=0.0).to(tl.float32)[:, None]
    if IS_GATED:
        given = given * tl.sigmoid(given) * up_given
    places = output + members.to(tl.int64)[None, :] * NUM_OUTPUTS + outputs[:, None]
    is_place = is_output[:, None] & (members < num_rows)[None, :]
    if ADDS:
        given += tl.load(places, mask=is_place, other=0.0).to(tl.float32)
    tl.store(places, given.to(output.dtype.element_ty), mask=is_place)
