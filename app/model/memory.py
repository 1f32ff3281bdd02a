"""How much memory there is, and how much of it the cache gets."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

CUDA_SHARE = 0.85
"""Of what is free on the device after the weights are loaded; the rest is for activations."""

HOST_SHARE = 0.4
"""Of what is available on the host, whose memory belongs to others too."""

HOST_LIMIT = 4 * 2**30
"""Bytes that a cache on the host takes unasked. All of it is touched at the start, which takes about a second each."""

_CGROUP = Path("/sys/fs/cgroup")


class CacheTooSmall(ValueError):
    """Not one sequence of the wanted length fits; the message names values that would work."""


def available_bytes(device: torch.device) -> int:
    """Memory in bytes that the cache may take on this device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * CUDA_SHARE)
    return min(int(_available_on_host() * HOST_SHARE), HOST_LIMIT)


def _available_on_host() -> int:
    """What the machine has left, or what the container has left if that is less."""
    available: int = psutil.virtual_memory().available
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        available = min(available, int(text) - int(used.read_text()))
    return available


def plan_cache(
    bytes_per_block: int,
    block_size: int,
    available: int,
    given: int | None,
    max_num_seqs: int,
    model_limit: int,
    max_model_len: int | None,
    shared_with_others: bool,
) -> tuple[int, int]:
    """Choose (number of blocks, max_model_len).

    `given` bytes are taken as they are. Otherwise the cache takes what is `available`, but no more than every
    sequence at full length could fill where the memory is shared with other programs. Without a wanted
    `max_model_len` it is the model's limit, or what the cache holds if that is less. Raises CacheTooSmall.
    """
    if max_model_len is not None and max_model_len > model_limit:
        raise CacheTooSmall(f"--max-model-len {max_model_len} is more than the model's {model_limit} positions")
    length = max_model_len or model_limit
    num_blocks = max(0, available if given is None else given) // bytes_per_block
    if given is None and shared_with_others:
        num_blocks = min(num_blocks, max_num_seqs * -(-length // block_size))
    capacity = num_blocks * block_size
    if capacity < (length if max_model_len else block_size):
        needed = -(-length // block_size) * bytes_per_block
        raise CacheTooSmall(
            f"the KV cache holds {capacity:,} tokens in {num_blocks * bytes_per_block / 2**20:,.0f} MiB, less than one "
            f"sequence of {length:,}: give it more with --kv-cache-memory {-(-needed // 2**20)}MiB"
            + (f", or shorten sequences with --max-model-len {capacity}" if capacity else "")
        )
    return num_blocks, min(length, capacity)
