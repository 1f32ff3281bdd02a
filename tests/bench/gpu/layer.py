"""One layer's attention to measure, by the Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.model.device_batch import LONG, DeviceBatch
from tests.bench.gpu.scale import Scale

BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True)
class Layer:
    """`num_rows` rows, in each of which the last `num_queries` of `context` tokens are computed."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    num_rows: int
    num_queries: int
    context: int

    @property
    def bytes_read(self) -> int:
        """Keys and values, each once, in a type of 16 bits."""
        return 2 * 2 * self.num_rows * self.context * self.num_kv_heads * self.head_size

    @property
    def operations(self) -> int:
        """Multiplications and additions with the keys that are seen, and with their values."""
        seen = sum(self.context - later for later in range(self.num_queries))
        return 4 * self.num_rows * seen * self.num_heads * self.head_size

    @property
    def whole_prompts(self) -> dict[int, slice]:
        if self.num_queries < max(self.context, LONG):
            return {}
        return {row: slice(row * self.context, (row + 1) * self.context) for row in range(self.num_rows)}

    def make(self, scale: Scale) -> Callable[[], torch.Tensor]:
        """Its attention over random keys and values in shuffled blocks."""
        from app.model.triton.attention import NewTokens, Options, attend

        width = -(-self.context // BLOCK_SIZE)
        shape = (self.num_rows * width, BLOCK_SIZE, self.num_kv_heads, self.head_size)
        keys, values = (torch.randn(shape, device=scale.device, dtype=scale.dtype) for _ in range(2))
        num_tokens = self.num_rows * self.num_queries
        query = torch.randn(num_tokens, self.num_heads, self.head_size, device=scale.device, dtype=scale.dtype)
        none = torch.zeros(num_tokens, dtype=torch.int64, device=scale.device)
        batch = DeviceBatch(
            input_ids=none,
            positions=none,
            slot_mapping=none,
            logits_indices=none,
            cu_seqlens_q=torch.arange(self.num_rows + 1, dtype=torch.int32, device=scale.device) * self.num_queries,
            seq_lens=torch.full((self.num_rows,), self.context, dtype=torch.int32, device=scale.device),
            table_width=torch.full((1,), width, dtype=torch.int32, device=scale.device),
            block_tables=torch.randperm(self.num_rows * width, device=scale.device).int(),
            num_decode_rows=self.num_rows if self.num_queries == 1 else 0,
            lengths_q=(self.num_queries,) * self.num_rows,
            whole_prompts=self.whole_prompts,
        )
        new = NewTokens(*(tensor.flatten(0, 1)[:num_tokens] for tensor in (keys, values)))
        options = Options(self.head_size**-0.5)
        return lambda: attend(query, new, keys, values, batch, options)


def heads_of(scale: Scale, name: str) -> tuple[int, int, int]:
    shape = scale.shape(name)
    return shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim
