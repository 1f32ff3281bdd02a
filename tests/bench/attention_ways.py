"""Ways of paged attention that torch gives. Each takes a world and gives a call with nothing left to prepare.

What a real step prepares once for all its layers (masks, tables) is prepared before the call here too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.experimental._paged_attention import PagedAttention
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from app.model.modules.sdpa import SdpaAttention, Workspace
from tests.bench.paged_case import BLOCK_SIZE, Attend, World

QUERY_BLOCK = 128


def sdpa(world: World) -> Attend:
    """Our backend: writes the step's keys and values, gathers what is cached, and calls torch's fused attention."""
    attention = SdpaAttention(world.batch, world.cache, Workspace())
    layer: Any = SimpleNamespace(layer_idx=0)
    slots = world.batch.slot_mapping
    keys, values = (
        blocks[0].flatten(0, 1)[slots].transpose(0, 1)[None] for blocks in (world.cache.keys, world.cache.values)
    )
    query = world.query.transpose(0, 1)[None]
    return lambda: attention(layer, query, keys, values)[0]


def plain(world: World) -> Attend:
    """Gather, two matrix products and a softmax."""
    case, heads = world.case, world.case.heads
    query = world.row_queries.unflatten(1, (heads.num_kv_heads, -1)).flatten(2, 3)
    later = torch.ones(case.num_queries, case.context, dtype=torch.bool).triu(case.context - case.num_queries + 1)
    mask = later.repeat(heads.num_heads // heads.num_kv_heads, 1)

    def attend() -> torch.Tensor:
        keys, values = world.gather(world.cache.keys[0]), world.gather(world.cache.values[0])
        scores = query @ keys.transpose(2, 3) * heads.size**-0.5
        attended = scores.masked_fill(mask, -torch.inf).softmax(-1) @ values
        return _by_token(attended.unflatten(2, (-1, case.num_queries)).flatten(1, 2))

    return attend


def nested(world: World) -> Attend:
    """Torch's nested tensors: rows side by side without padding. Heads are repeated, for it knows no groups."""
    case, heads = world.case, world.case.heads
    if case.num_queries > 1:
        raise NotImplementedError("nested tensors know no causal mask that begins in the middle of a row")
    group = heads.num_heads // heads.num_kv_heads
    offsets = torch.arange(0, (case.num_rows + 1) * case.context, case.context)
    ones = torch.arange(case.num_rows + 1)

    def attend() -> torch.Tensor:
        keys, values = (
            world.gather(blocks).transpose(1, 2).flatten(0, 1).repeat_interleave(group, 1)
            for blocks in (world.cache.keys[0], world.cache.values[0])
        )
        query = _jagged(world.query, ones)
        attended = F.scaled_dot_product_attention(query, _jagged(keys, offsets), _jagged(values, offsets))
        return attended.transpose(1, 2).values()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")
        attend()  # torch warns once
    return attend


def flex(world: World) -> Attend:
    """Compiled flex attention: a block mask leads from the tables to the blocks, nothing is gathered."""
    case = world.case
    per_row = world.tables.shape[1]
    pages = PagedAttention(case.num_blocks, BLOCK_SIZE, case.num_rows, device="cpu")
    pages.page_table[:, :per_row] = world.tables
    for row, table in enumerate(world.tables):
        pages.physical_to_logical[row, table] = torch.arange(per_row)
    start = case.context - case.num_queries

    def causal(_row: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return key <= query + start

    logical = create_block_mask(
        causal, case.num_rows, None, case.num_queries, case.context, "cpu", BLOCK_SIZE=(QUERY_BLOCK, BLOCK_SIZE)
    )
    mask = pages.convert_logical_block_mask(logical)
    keys, values = (blocks[0].flatten(0, 1).transpose(0, 1)[None] for blocks in (world.cache.keys, world.cache.values))
    query = world.row_queries.contiguous()
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: _by_token(compiled(query, keys, values, block_mask=mask, enable_gqa=True))


def varlen(world: World) -> Attend:
    """Torch's attention over rows of different lengths, with a table of blocks."""
    case = world.case
    queries = torch.arange(0, len(world.query) + 1, case.num_queries, dtype=torch.int32)
    lengths = torch.full((case.num_rows,), case.context, dtype=torch.int32)
    return lambda: varlen_attn(
        world.query,
        world.cache.keys[0],
        world.cache.values[0],
        queries,
        None,
        case.num_queries,
        case.context,
        window_size=(-1, 0),
        enable_gqa=True,
        seqused_k=lengths,
        block_table=world.tables.int(),
    )


def _by_token(attended: torch.Tensor) -> torch.Tensor:
    """From `[num_rows, num_heads, num_queries, size]` to `[num_tokens, num_heads, size]`."""
    return attended.transpose(1, 2).flatten(0, 1)


def _jagged(tokens: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return torch.nested.nested_tensor_from_jagged(tokens, offsets).transpose(1, 2)


WAYS: dict[str, Callable[[World], Attend]] = {
    "sdpa": sdpa,
    "plain": plain,
    "nested": nested,
    "flex": flex,
    "varlen": varlen,
}
