"""Attention over a paged cache by the Triton kernels, and by its definition in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from app.model.device_batch import DeviceBatch
from app.model.inputs import ForwardBatch
from app.model.triton.attention import NewTokens, Options, attend, write

NAN = float("nan")


@dataclass(frozen=True)
class World:
    """Rows of (tokens computed now, tokens in all) over shuffled blocks; whatever is not theirs is NaN."""

    rows: tuple[tuple[int, int], ...]
    num_heads: int = 4
    num_kv_heads: int = 2
    key_size: int = 32
    value_size: int = 32
    block_size: int = 16
    dtype: torch.dtype = torch.float32
    window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False
    scale: float = 0.2
    seed: int = 0

    def attended(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """What the kernels give, and what float64 says: `[num_tokens, num_heads, value_size]`."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)

        widths = [-(-length // self.block_size) for _, length in self.rows]
        num_blocks = sum(widths) + 3
        shuffled = torch.randperm(num_blocks, generator=generator).tolist()
        tables = np.zeros((len(self.rows), max(widths)), dtype=np.int64)
        keys = torch.full((num_blocks, self.block_size, self.num_kv_heads, self.key_size), NAN, dtype=self.dtype)
        values = torch.full((num_blocks, self.block_size, self.num_kv_heads, self.value_size), NAN, dtype=self.dtype)
        query = normal(self.num_heads, sum(count for count, _ in self.rows), self.key_size).transpose(0, 1)
        sinks = normal(self.num_heads) if self.has_sinks else None
        begin, slots, new, expected = 0, [], [], []
        for index, (count, length) in enumerate(self.rows):
            tables[index, : widths[index]] = [shuffled.pop() for _ in range(widths[index])]
            positions = torch.arange(length)
            row_slots = torch.from_numpy(tables[index])[positions // self.block_size] * self.block_size
            row_slots += positions % self.block_size
            row_keys = normal(length, self.num_kv_heads, self.key_size)
            row_values = normal(length, self.num_kv_heads, self.value_size)
            old = length - count
            keys.flatten(0, 1)[row_slots[:old]] = row_keys[:old]
            values.flatten(0, 1)[row_slots[:old]] = row_values[:old]
            slots.append(row_slots[old:])
            new.append((row_keys[old:], row_values[old:]))
            expected.append(self._exactly(query[begin : begin + count], row_keys, row_values, sinks))
            begin += count
        keys, values = keys.to(device), values.to(device)
        slot_mapping = torch.cat(slots).to(device)
        new_tokens = NewTokens(*(torch.cat(parts).to(device) for parts in zip(*new, strict=True)))
        write(new_tokens, keys, values, slot_mapping)
        batch = DeviceBatch.of(
            ForwardBatch(
                packed=np.zeros(3 * len(slot_mapping), dtype=np.int64),
                num_decode_rows=sum(count == 1 for count, _ in self.rows),
                cu_seqlens_q=np.cumsum([0, *(count for count, _ in self.rows)], dtype=np.int32),
                seq_lens=np.array([length for _, length in self.rows], dtype=np.int32),
                block_tables=tables.astype(np.int32),
                is_decode=False,
                device=device,
            )
        )
        options = Options(self.scale, self.softcap, self.window, None if sinks is None else sinks.to(device))
        # torch's allocator gives this memory to the output next: what is not written there shows.
        torch.full((len(query), self.num_heads, self.value_size), NAN, dtype=self.dtype, device=device)
        output = attend(query.to(device), new_tokens, keys, values, batch, options)
        return output.cpu().double(), torch.cat(expected)

    def _exactly(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, sinks: torch.Tensor | None
    ) -> torch.Tensor:
        group = self.num_heads // self.num_kv_heads
        keys, values = (part.double().repeat_interleave(group, 1).transpose(0, 1) for part in (keys, values))
        scores = query.double().transpose(0, 1) @ keys.transpose(1, 2) * self.scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        num_queries, length = scores.shape[1:]
        position = torch.arange(length - num_queries, length)[:, None]
        seen = torch.arange(length)[None, :] <= position
        if self.window is not None:
            seen &= torch.arange(length)[None, :] > position - self.window
        scores = scores.masked_fill(~seen, -torch.inf)
        if sinks is not None:
            scores = torch.cat((scores, sinks.double()[:, None, None].expand(-1, num_queries, 1)), 2)
        return (scores.softmax(-1)[..., :length] @ values).transpose(0, 1)
