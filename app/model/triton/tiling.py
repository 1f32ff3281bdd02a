"""How attention and small products are cut into tiles; the fastest ones found are data, in `tuned.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from triton.runtime import driver

Kind = Literal["decode_few", "decode", "prefill"]
ProductKind = Literal["one_row", "few_rows"]
ONE_ROW: ProductKind = "one_row"
FEW_ROWS: ProductKind = "few_rows"
TUNED = json.loads(Path(__file__).with_name("tuned.json").read_text())


@dataclass(frozen=True, slots=True)
class Shape:
    """`tile_m` pairs of query and head, `tile_n` keys at once."""

    tile_m: int
    tile_n: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class Tiling(Shape):
    """`tile_q` queries to a tile, each with a group's heads; they fill `tile_m` as far as they go."""

    tile_q: int


@dataclass(frozen=True, slots=True)
class ProductTiling:
    """`tile_n` outputs of a product of few rows, of whose sums `tile_k` parts are read at once."""

    tile_n: int
    tile_k: int
    num_warps: int
    num_stages: int


SHAPES: dict[Kind, dict[int, Shape]] = {
    kind: {int(size): Shape(*shape) for size, shape in TUNED[kind].items()}
    for kind in ("decode_few", "decode", "prefill")
}
"""By the largest head size that they are for."""

PROGRAMS_PER_CORE: int = TUNED["programs_per_core"]
"""Programs of decoding rows into which few of them are divided for each multiprocessor."""

PRODUCTS: dict[ProductKind, dict[int, ProductTiling]] = {
    kind: {int(size): ProductTiling(*tiling) for size, tiling in TUNED[kind].items()} for kind in (ONE_ROW, FEW_ROWS)
}
"""By the largest number of a matrix's rows that they are for."""

MAX_SMALL_M = 16
"""Rows up to which a product takes as long as reading its matrix."""

HOPPER_MEMORY = 227 * 1024
SPARE = 2048
"""Bytes of shared memory that a kernel takes beside its tiles."""

MAX_FLASH_HEAD_SIZE = 256
"""Numbers of a head up to which torch has fused attention (FlashAttention-2: Dao 2023)."""

MIN_TILE = 16
"""What the matrix units take at least."""

MAX_SPLITS = 64


class DoesNotFit(ValueError):
    """The least tiles take more shared memory than the chip has; the message says how much."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What attention is over: `group` query heads to a key-value head, numbers of `item_size` bytes."""

    group: int
    key_size: int
    value_size: int
    item_size: int

    @property
    def suit_flash(self) -> bool:
        """Whether torch has fused attention of grouped heads for them. For others it would make all scores at once,
        for which no memory was set aside."""
        return self.item_size == 2 and self.key_size == self.value_size <= MAX_FLASH_HEAD_SIZE

    @property
    def key_padded(self) -> int:
        return max(MIN_TILE, _next_power_of_2(self.key_size))

    @property
    def value_padded(self) -> int:
        return max(MIN_TILE, _next_power_of_2(self.value_size))


def tiling_of(kind: Kind, heads: Heads, shared_memory: int) -> Tiling:
    """The tiles that were found fast, or the largest below them that fit `shared_memory` bytes.

    A group larger than a tile is given a larger tile. In numbers of more than two bytes a tile is half as large each
    way: without matrix units it would not fit the registers, and take the compiler half a minute.
    Raises DoesNotFit.
    """
    shapes = SHAPES[kind]
    shape = shapes[min((size for size in shapes if size >= heads.key_size), default=max(shapes))]
    least_m = max(MIN_TILE, _next_power_of_2(heads.group))
    if heads.item_size > 2:
        tile_n = max(MIN_TILE, shape.tile_n // 2)
        shape = replace(shape, tile_m=shape.tile_m // 2, tile_n=tile_n, num_stages=2)
    shape = replace(shape, tile_m=max(least_m, shape.tile_m))
    while (needed := room_for(shape, heads)) > shared_memory:
        if shape.tile_m > max(least_m, shape.tile_n):
            shape = replace(shape, tile_m=shape.tile_m // 2)
        elif shape.tile_n > MIN_TILE:
            shape = replace(shape, tile_n=shape.tile_n // 2)
        else:
            sizes = f"{needed / 1024:.0f} KiB of shared memory are needed, and it has {shared_memory / 1024:.0f}"
            raise DoesNotFit(sizes)
    tile_q = shape.tile_m // heads.group if kind == "prefill" else 1
    return Tiling(shape.tile_m, shape.tile_n, shape.num_warps, shape.num_stages, tile_q)


def check_fit(heads: Heads, shared_memory: int) -> None:
    """Raises DoesNotFit if some kind of attention over such heads has no tiles for a chip."""
    for kind in SHAPES:
        tiling_of(kind, heads, shared_memory)


def room_for(shape: Shape, heads: Heads) -> int:
    """Of shared memory that a kernel takes at most: tests/triton_compile.py holds it against what compilers take.

    Queries, keys and values, and either the next keys and values (Hopper's matrix units) or the weights (others'); at
    the end the output instead.
    """
    queries = shape.tile_m * heads.key_padded * heads.item_size
    keys_and_values = shape.tile_n * (heads.key_padded + heads.value_padded) * heads.item_size
    weights = shape.tile_m * shape.tile_n * heads.item_size
    output = 4 * shape.tile_m * heads.value_padded
    return SPARE + max(queries + keys_and_values + max(keys_and_values, weights), output)


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


def product_tiling(
    kind: ProductKind, num_matrix_rows: int, is_gated: bool, item_size: int, shared_memory: int
) -> ProductTiling:
    """The tiles for a matrix of so many rows, gates included.

    With gates two tiles are read at once, and numbers of more than two bytes take more room: no more are ahead than fit
    `shared_memory`, in bytes.
    """
    tilings = PRODUCTS[kind]
    tiling = tilings[min((size for size in tilings if size >= num_matrix_rows), default=max(tilings))]
    if kind == ONE_ROW:
        return tiling
    rows = tiling.tile_n * (1 + is_gated) + MAX_SMALL_M
    while tiling.num_stages * tiling.tile_k * rows * item_size + SPARE > shared_memory:
        if tiling.num_stages > 2:
            tiling = replace(tiling, num_stages=tiling.num_stages - 1)
        else:
            tiling = replace(tiling, tile_k=tiling.tile_k // 2)
    return tiling


@cache
def shared_memory_of(device: torch.device) -> int:
    """Bytes that one program may have."""
    if device.type != "cuda":
        return HOPPER_MEMORY
    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


def decode_kind(num_programs: int, device: torch.device) -> Kind:
    """With no more programs than multiprocessors, each has one to itself, and is to be quick."""
    return "decode_few" if num_programs <= _num_cores(device) else "decode"


def decode_splits(num_programs: int, device: torch.device) -> int:
    """Into how many splits the keys of a row are divided, so that few rows fill the chip too.

    It does not depend on the rows' lengths, which change with every step: a captured graph has to hold for all.
    """
    return _power_of_2(_num_cores(device) * PROGRAMS_PER_CORE // num_programs)


def prefill_splits(num_programs: int, device: torch.device) -> int:
    """The same for chunks of prompts, and for drafts: a few long rows must not leave most of the chip idle."""
    return _power_of_2(_num_cores(device) // num_programs)


def _power_of_2(most: int) -> int:
    """The largest one that is no more than this, or than is useful."""
    return min(MAX_SPLITS, 1 << max(0, most.bit_length() - 1))


@cache
def _num_cores(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
