"""One layer's attention to measure: rows over a cache of shuffled blocks, and what float64 says of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.model.inputs import ForwardBatch, build_forward_batch
from app.model.kv_cache import KVCache, LayerShape
from app.scheduler.batch import Admission, ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence
from tests.bench.shapes import SHAPES
from tests.models import greedy

BLOCK_SIZE = 16
CPU = torch.device("cpu")


Attend = Callable[[], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Something to run, what float64 says that it gives, and, where it does more than attend, the same without that.

    `without_context` runs as many tokens, each of which sees only itself.
    """

    run: Attend
    expected: torch.Tensor
    without_context: Attend | None = None


@dataclass(frozen=True, slots=True)
class Heads:
    num_heads: int
    num_kv_heads: int
    size: int

    @property
    def layer(self) -> LayerShape:
        return LayerShape(self.num_kv_heads, self.size, self.size)


HEADS = {
    name: Heads(shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim)
    for name, shape in SHAPES.items()
    if name in ("0.6B", "25M")
}


@dataclass(frozen=True, slots=True)
class Case:
    """`num_rows` rows; in each the last `num_queries` of `context` tokens are computed, the others are cached."""

    name: str
    heads: Heads
    num_rows: int
    num_queries: int
    context: int

    @property
    def num_blocks(self) -> int:
        """Those in use, and one more for each row that nobody may read."""
        return self.num_rows * (-(-self.context // BLOCK_SIZE) + 1)

    def bytes_read(self, dtype: torch.dtype) -> int:
        """Keys and values of all rows, each read once."""
        return self.num_rows * self.context * self.heads.layer.num_elements * dtype.itemsize

    def sequences(self, vocab_size: int = 2) -> list[Sequence]:
        """One for each row, with random tokens and a table of shuffled blocks."""
        per_row = -(-self.context // BLOCK_SIZE)
        tables = torch.randperm(self.num_blocks)[: self.num_rows * per_row].view(self.num_rows, per_row)
        sequences = []
        for row, table in enumerate(tables.tolist()):
            sequence = Sequence(row, torch.randint(vocab_size, (self.context,)).tolist(), greedy(1))
            sequence.block_table = array("i", table)
            sequences.append(sequence)
        return sequences

    def make(self, dtype: torch.dtype) -> World:
        """Random queries, keys and values."""
        cache = KVCache([self.heads.layer], self.num_blocks, BLOCK_SIZE, dtype, CPU)
        cache.keys[0].normal_()
        cache.values[0].normal_()
        batch = batch_of(self.sequences(), self.context - self.num_queries, self.context)
        query = torch.randn(self.num_rows * self.num_queries, self.heads.num_heads, self.heads.size, dtype=dtype)
        return World(self, batch, cache, query)


@dataclass(frozen=True, slots=True)
class World:
    """`query`: `[num_tokens, num_heads, size]`. The rows' own keys and values are in the cache already."""

    case: Case
    batch: ForwardBatch
    cache: KVCache
    query: torch.Tensor

    @property
    def tables(self) -> torch.Tensor:
        """Block ids `[num_rows, blocks of a row]`."""
        return torch.from_numpy(self.batch.block_tables)

    @property
    def row_queries(self) -> torch.Tensor:
        """`[num_rows, num_heads, num_queries, size]`."""
        return self.query.unflatten(0, (self.case.num_rows, self.case.num_queries)).transpose(1, 2)

    def gather(self, blocks: torch.Tensor) -> torch.Tensor:
        """Keys or values of every row in order: `[num_rows, num_kv_heads, context, size]`."""
        return blocks[self.tables].flatten(1, 2)[:, : self.case.context].transpose(1, 2)


def batch_of(sequences: list[Sequence], start: int, end: int) -> ForwardBatch:
    for sequence in sequences:
        sequence.num_computed_tokens = start
    rows = [ScheduledRow.next_of(sequence, end - start) for sequence in sequences]
    return build_forward_batch(ScheduledBatch.of(rows, {}, Admission()), BLOCK_SIZE, CPU)


def exact(world: World) -> torch.Tensor:
    """The same in float64, one row after the other: `[num_tokens, num_heads, size]`."""
    case = world.case
    keys, values = (world.gather(blocks).double() for blocks in (world.cache.keys[0], world.cache.values[0]))
    rows = zip(world.row_queries.double(), keys, values, strict=True)
    attended = [attend_exactly(*row) for row in rows]
    return torch.stack(attended).transpose(1, 2).reshape(-1, case.heads.num_heads, case.heads.size)


def attend_exactly(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Causal attention of the last `num_queries` tokens, by its definition.

    `query`: `[num_heads, num_queries, size]`; keys and values: `[num_kv_heads, context, size]`.
    """
    group = len(query) // len(keys)
    keys, values = keys.repeat_interleave(group, 0), values.repeat_interleave(group, 0)
    num_queries, context = query.shape[1], keys.shape[1]
    scores = query @ keys.transpose(1, 2) * query.shape[2] ** -0.5
    later = torch.ones(num_queries, context, dtype=torch.bool).triu(context - num_queries + 1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ values
