"""How much memory is available, and how much of it the KV cache gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

HOST_SHARE = 0.4
"""The cache's share of what is available on the host, whose memory belongs to other programs too."""

HOST_LIMIT = 4 * 2**30
"""Bytes that a cache on the host takes at most by default: touching each GiB at the start takes about a second."""

_CGROUP = Path("/sys/fs/cgroup")


class CacheTooSmall(ValueError):
    """Not even one sequence of the requested length fits; the message names values that would work."""


def available_bytes() -> int:
    """Memory in bytes that the cache may take on the host."""
    return min(int(_available_on_host() * HOST_SHARE), HOST_LIMIT)


def _available_on_host() -> int:
    """Bytes that the machine has left, or the container if that is less."""
    available: int = psutil.virtual_memory().available
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        available = min(available, int(text) - int(used.read_text()))
    return available


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How much the engine may be given at once. `max_model_len`: the operator's setting, if there is one."""

    max_num_seqs: int
    max_num_batched_tokens: int
    model_limit: int
    max_model_len: int | None = None

    @property
    def length(self) -> int:
        """Tokens of the longest sequence, provided that the cache holds as many."""
        return min(self.max_model_len or self.model_limit, self.model_limit)


@dataclass(frozen=True, slots=True)
class CacheMemory:
    """Bytes for the cache: `given` if set; otherwise what is `available`, but where the memory is shared with other
    programs no more than all sequences at full length could fill."""

    available: int
    given: int | None
    shared_with_others: bool

    def num_blocks(self, bytes_per_block: int, most_in_use: int) -> int:
        if self.given is not None:
            return self.given // bytes_per_block
        num_blocks = max(0, self.available) // bytes_per_block
        return min(num_blocks, most_in_use) if self.shared_with_others else num_blocks


def plan_cache(bytes_per_block: int, block_size: int, memory: CacheMemory, limits: StepLimits) -> tuple[int, int]:
    """The number of blocks and `max_model_len`.

    Unless it is set, the latter is the model's limit, or what the cache holds if that is less. Raises CacheTooSmall.
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
