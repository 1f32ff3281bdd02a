"""How much memory there is, and how much of it the cache gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

HOST_SHARE = 0.4
"""Of what is available on the host, whose memory belongs to others too."""

HOST_LIMIT = 4 * 2**30
"""Bytes that a cache on the host takes unasked. All of it is touched at the start, which takes about a second each."""

_CGROUP = Path("/sys/fs/cgroup")


class CacheTooSmall(ValueError):
    """Not one sequence of the wanted length fits; the message names values that would work."""


def available_bytes() -> int:
    """Memory in bytes that the cache may take on the host."""
    return min(int(_available_on_host() * HOST_SHARE), HOST_LIMIT)


def _available_on_host() -> int:
    """What the machine has left, or what the container has left if that is less."""
    available: int = psutil.virtual_memory().available
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        available = min(available, int(text) - int(used.read_text()))
    return available


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine may be given to do at once. `max_model_len` is what was asked for, if anything was."""

    max_num_seqs: int
    max_num_batched_tokens: int
    model_limit: int
    max_model_len: int | None = None

    @property
    def length(self) -> int:
        """Tokens of the longest sequence, if the cache holds as many."""
        return min(self.max_model_len or self.model_limit, self.model_limit)


@dataclass(frozen=True, slots=True)
class CacheMemory:
    """Bytes for the cache: `given` as they are; otherwise what is `available`, but no more than every sequence at full
    length could fill where the memory is shared with other programs."""

    available: int
    given: int | None
    shared_with_others: bool

    def num_blocks(self, bytes_per_block: int, most_in_use: int) -> int:
        if self.given is not None:
            return self.given // bytes_per_block
        num_blocks = max(0, self.available) // bytes_per_block
        return min(num_blocks, most_in_use) if self.shared_with_others else num_blocks


def plan_cache(bytes_per_block: int, block_size: int, memory: CacheMemory, limits: Limits) -> tuple[int, int]:
    """Choose (number of blocks, max_model_len).

    Without a wanted `max_model_len` it is the model's limit, or what the cache holds if that is less. Raises
    CacheTooSmall.
    """
    wanted, length = limits.max_model_len, limits.length
    if wanted is not None and wanted > limits.model_limit:
        raise CacheTooSmall(f"--max-model-len {wanted} is more than the model's {limits.model_limit} positions")
    num_blocks = memory.num_blocks(bytes_per_block, limits.max_num_seqs * -(-length // block_size))
    capacity = num_blocks * block_size
    if capacity < (length if wanted else block_size):
        needed = -(-length // block_size) * bytes_per_block
        raise CacheTooSmall(
            f"the KV cache holds {capacity:,} tokens in {num_blocks * bytes_per_block / 2**20:,.0f} MiB, less than one "
            f"sequence of {length:,}: give it more with --kv-cache-memory {-(-needed // 2**20)}MiB"
            + (f", or shorten sequences with --max-model-len {capacity}" if capacity else "")
        )
    return num_blocks, min(length, capacity)
