"""How attention is cut into tiles: what was found fast, kept as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

Kind = Literal["decode", "prefill"]


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


SHAPES: dict[Kind, dict[int, Shape]] = {
    "decode": {64: Shape(16, 128, 4, 3), 128: Shape(16, 64, 4, 3), 256: Shape(16, 32, 4, 2)},
    "prefill": {64: Shape(128, 64, 4, 3), 128: Shape(128, 64, 8, 3), 256: Shape(64, 32, 8, 2)},
}
"""By the largest head size that they are for. Not measured on a GPU yet: `python -m tests.bench.gpu --tune` is."""

PROGRAMS_PER_CORE = 4
"""Programs that a multiprocessor should have to hide the latency of memory."""

MOST_SPLITS = 64


def tiling_of(kind: Kind, group: int, head_size: int) -> Tiling:
    """The tiles for `group` query heads to a key-value head. A group larger than a tile is given a larger tile."""
    shapes = SHAPES[kind]
    shape = shapes[min((size for size in shapes if size >= head_size), default=max(shapes))]
    tile_m = max(shape.tile_m, 1 << (group - 1).bit_length())
    tile_q = 1 if kind == "decode" else tile_m // group
    return Tiling(tile_m, shape.tile_n, shape.num_warps, shape.num_stages, tile_q)


def decode_splits(num_programs: int, device: torch.device) -> int:
    """Into how many shares the keys of a row go, so that few rows fill the chip too.

    It does not depend on the rows' lengths, which change with every step: a captured graph has to hold for all.
    """
    wanted = -(-_num_cores(device) * PROGRAMS_PER_CORE // num_programs)
    return min(MOST_SPLITS, 1 << (wanted - 1).bit_length())


@cache
def _num_cores(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
