"""Paged attention of the `sdpa` backend, by torch's operators alone: it runs on every device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache

GROUP_RATIO = 2
"""Decode rows whose context lengths differ by at most this factor are padded to one length, and share a call."""

MAX_GATHERED_TOKENS = 1 << 16
"""How many tokens are gathered for one call at most, unless a single row has more. Gathering copies, and the memory for
that has to be known beforehand."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that share one attention call.

    `tokens`: their slice of the step's tokens. `blocks`: `[num_rows * blocks_per_row]` block ids to read, or None
    where the step's own keys are all there is. `mask`: true where a key is seen, broadcastable to
    `[num_rows, 1, 1, num_queries, num_keys]`, or None for plain causal. `stale`: which of the gathered
    `num_rows * num_keys` slots lie behind their row's last token.
    """

    tokens: slice
    num_rows: int
    blocks: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    stale: torch.Tensor | None = None


class SdpaAttention:
    """Attention of one step. The plan (which blocks, which mask) is made once per window size, not per layer.

    Decode rows are gathered by block and attended in groups of similar length, the query heads of a group standing
    where a prompt's tokens would, so that keys are not repeated per head. A prefill chunk is one call per row; its
    mask covers that row alone. Work and memory grow with the contexts in the batch, never with the size of the pool.
    """

    def __init__(self, batch: ForwardBatch, cache: KVCache, workspace: Workspace) -> None:
        self._batch = batch
        self._cache = cache
        self._workspace = workspace
        self._plans: dict[int | None, list[RowGroup]] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        layer: int = module.layer_idx  # type: ignore[assignment]
        keys, values = key[0].transpose(0, 1), value[0].transpose(0, 1)
        self._cache.write(layer, keys, values, self._batch.slot_mapping)
        window = self._cache.layers[layer].window
        if window not in self._plans:
            self._plans[window] = plan(self._batch, window, self._cache.block_size, key.device)
        num_kv_heads, num_tokens, _size = key.shape[1:]
        grouped_query = query.view(num_kv_heads, -1, num_tokens, query.shape[-1])
        output = query.new_empty(num_tokens, query.shape[1], value.shape[-1])
        for group in self._plans[window]:
            shape = (num_kv_heads, grouped_query.shape[1], group.num_rows, -1, query.shape[-1])
            rows_query = grouped_query[:, :, group.tokens].view(shape).permute(2, 0, 1, 3, 4)
            if group.blocks is None:
                rows_keys, rows_values = keys[None, group.tokens], values[None, group.tokens]
            else:
                rows_keys = self._workspace.gather(self._cache.keys[layer], group, "keys")
                rows_values = self._workspace.gather(self._cache.values[layer], group, "values")
            attended = attend(rows_query, rows_keys, rows_values, group.mask, scaling, softcap, s_aux)
            output[group.tokens] = attended.permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)
        return output[None]


class Workspace:
    """Buffers for gathered blocks, kept between steps: page faults of fresh ones would cost more than copying."""

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def gather(self, blocks: torch.Tensor, group: RowGroup, name: str) -> torch.Tensor:
        """Read a group's blocks into `[num_rows, num_keys, num_kv_heads, head_size]`, valid until the next gather.

        Stale slots become zeros: a NaN that the block's last owner left there would survive the mask.
        """
        assert group.blocks is not None
        assert group.stale is not None
        size = group.blocks.numel() * blocks[0].numel()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.dtype != blocks.dtype:
            buffer = self._buffers[name] = blocks.new_empty(size)
        gathered = buffer[:size].view(-1, *blocks.shape[1:])
        torch.index_select(blocks, 0, group.blocks, out=gathered)
        gathered.flatten(0, 1).index_fill_(0, group.stale, 0)
        return gathered.view(group.num_rows, -1, *blocks.shape[2:])


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attention of `[num_rows, num_kv_heads, heads_per_kv_head, num_queries, head_size]` queries.

    Keys and values: `[num_rows, num_keys, num_kv_heads, size]`. Returns the queries' shape with the value size.
    """
    keys, values = keys.transpose(1, 2), values.transpose(1, 2)
    if softcap is not None or sinks is not None:
        return _attend_explicitly(query, keys, values, mask, scaling, softcap, sinks)
    if query.shape[3] == 1:
        fused_mask = None if mask is None else mask.squeeze(1)
        return F.scaled_dot_product_attention(
            query.squeeze(3), keys, values, attn_mask=fused_mask, scale=scaling
        ).unsqueeze(3)
    if query.shape[0] != 1:
        raise ValueError("rows of several queries are attended one at a time")
    expanded = (query.shape[1], query.shape[2], -1, -1)
    return F.scaled_dot_product_attention(
        query[0],
        keys[0, :, None].expand(expanded),
        values[0, :, None].expand(expanded),
        attn_mask=None if mask is None else mask[0],
        is_causal=mask is None,
        scale=scaling,
    )[None]


def _attend_explicitly(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """The same in separate operations, for soft-capping and sinks, which torch's fused attention lacks."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query @ keys[:, :, None].transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~mask, -torch.inf)
    if sinks is not None:
        sink_scores = sinks.float().view(1, query.shape[1], query.shape[2], 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat((scores, sink_scores), dim=-1)
    probabilities = scores.softmax(-1)[..., : keys.shape[2]].to(values.dtype)
    return probabilities @ values[:, :, None]


def plan(batch: ForwardBatch, window: int | None, block_size: int, device: torch.device) -> list[RowGroup]:
    """Divide a batch's rows into attention calls, for layers of one window size."""
    first_visible = np.maximum(batch.seq_lens - window, 0) if window is not None else np.zeros_like(batch.seq_lens)
    lengths = (batch.seq_lens - first_visible).tolist()
    groups = []
    begin = 0
    for row in range(1, batch.num_decode_rows + 1):
        if row == batch.num_decode_rows or not _belongs(lengths[begin], lengths[row], row - begin, block_size):
            groups.append(_decode_group(batch, begin, row, first_visible, block_size, device))
            begin = row
    prefill_rows = range(batch.num_decode_rows, len(batch.seq_lens))
    return groups + [_prefill_group(batch, row, window, block_size, device) for row in prefill_rows]


def _belongs(shortest: int, length: int, num_rows: int, block_size: int) -> bool:
    """Whether a row of this length can share a call with `num_rows` shorter ones."""
    similar = length <= GROUP_RATIO * shortest + block_size
    return similar and (num_rows + 1) * (length + block_size) <= MAX_GATHERED_TOKENS


def _decode_group(
    batch: ForwardBatch, begin: int, end: int, first_visible: np.ndarray, block_size: int, device: torch.device
) -> RowGroup:
    """Rows `begin` to `end`, one token each. A shorter row is padded with its own first block, which is masked."""
    firsts, lasts = first_visible[begin:end], batch.seq_lens[begin:end]
    first_blocks = firsts // block_size
    num_blocks = -(-lasts // block_size) - first_blocks
    blocks = np.empty((end - begin, num_blocks.max()), dtype=np.int64)
    for index, (first, count) in enumerate(zip(first_blocks, num_blocks, strict=True)):
        table = batch.block_tables[begin + index]
        blocks[index, :count] = table[first : first + count]
        blocks[index, count:] = table[first]
    positions = first_blocks[:, None] * block_size + np.arange(blocks.shape[1] * block_size)
    mask = (positions >= firsts[:, None]) & (positions < lasts[:, None])
    return RowGroup(
        tokens=slice(begin, end),
        num_rows=end - begin,
        blocks=torch.from_numpy(blocks.ravel()).to(device),
        mask=torch.from_numpy(mask).to(device)[:, None, None, None],
        stale=torch.from_numpy(np.flatnonzero(positions >= lasts[:, None])).to(device),
    )


def _prefill_group(
    batch: ForwardBatch, row: int, window: int | None, block_size: int, device: torch.device
) -> RowGroup:
    """One row of several tokens; its mask is `[num_queries, num_keys]` of this row alone."""
    tokens = slice(*batch.cu_seqlens_q[row : row + 2].tolist())
    last = int(batch.seq_lens[row])
    start = last - (tokens.stop - tokens.start)
    if start == 0 and (window is None or last <= window):
        return RowGroup(tokens=tokens, num_rows=1)
    first_block = 0 if window is None else max(0, start + 1 - window) // block_size
    table = batch.block_tables[row][first_block : -(-last // block_size)]
    queries = np.arange(start, last)[:, None]
    keys = first_block * block_size + np.arange(len(table) * block_size)
    mask = keys <= queries
    if window is not None:
        mask &= keys > queries - window
    return RowGroup(
        tokens=tokens,
        num_rows=1,
        blocks=torch.from_numpy(table).to(device),
        mask=torch.from_numpy(mask).to(device)[None, None, None],
        stale=torch.from_numpy(np.flatnonzero(keys >= last)).to(device),
    )
