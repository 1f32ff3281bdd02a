"""Tiles fit the chips that they are for. What they are reckoned to take is held against compilers elsewhere."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from app.model.triton.tiling import (
    FEW_ROWS,
    MAX_SMALL_M,
    SHAPES,
    DoesNotFit,
    Heads,
    product_tiling,
    room_for,
    tiling_of,
)


@pytest.mark.parametrize("num_kibibytes", [99, 163, 227])
def test_tiles_of_products_fit_the_chip(num_kibibytes: int) -> None:
    for num_rows in (16, 2048, 6144, 28_672, 151_936):
        for is_gated in (False, True):
            for size in (2, 4):
                tiling = product_tiling(FEW_ROWS, num_rows, is_gated, size, num_kibibytes * 1024)
                ahead = tiling.num_stages * tiling.tile_k * (tiling.tile_n * (1 + is_gated) + MAX_SMALL_M) * size
                assert ahead < num_kibibytes * 1024
                assert tiling.tile_k >= MAX_SMALL_M


@pytest.mark.parametrize("num_kibibytes", [99, 163, 227])
def test_tiles_of_attention_fit_the_chip_and_hold_a_group(num_kibibytes: int) -> None:
    """What they are reckoned to take is held against compilers in test_triton_compile.py."""
    for kind in SHAPES:
        for size in (32, 80, 128, 256):
            for group, item_size in ((1, 2), (1, 4), (7, 2), (7, 4), (20, 2)):
                heads = Heads(group, size, size, item_size)
                tiling = tiling_of(kind, heads, num_kibibytes * 1024)
                assert room_for(tiling, heads) <= num_kibibytes * 1024
                assert tiling.tile_q * group <= tiling.tile_m
                assert min(tiling.tile_q, tiling.tile_m // 16, tiling.tile_n // 16) >= 1


def test_numbers_of_two_bytes_have_the_tiles_that_were_found_fast_even_where_there_is_little_shared_memory() -> None:
    for kind, shapes in SHAPES.items():
        for size, shape in shapes.items():
            tiling = tiling_of(kind, Heads(4, size, size, 2), 99 * 1024)
            assert (tiling.tile_m, tiling.tile_n) == (shape.tile_m, shape.tile_n)


def test_what_no_tile_holds_is_told_with_figures() -> None:
    with pytest.raises(DoesNotFit, match="194 KiB of shared memory are needed, and it has 99"):
        tiling_of("decode", Heads(71, 256, 256, 4), 99 * 1024)
