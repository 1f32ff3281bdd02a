"""Fixed-size blocks of the KV cache: how often each is referenced, and which prefix it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """Reference-counted blocks, with a prefix cache that includes the free ones.

    A block is free when nothing references it. A free block keeps its hash and can be found by it until it is allocated
    again, least recently used first (vLLM's automatic prefix caching, Kwon et al. 2023, with eviction in O(1)).
    Invariants: a block is in `_free` exactly when its reference count is 0, and `_by_hash[h] == b` exactly when
    `_hashes[b] == h`. `num_shared` blocks have more than one reference, `num_cached` blocks are free but can be found.
    Both are updated on every change, because a pool may be too large to be scanned at every step.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.num_shared = 0
        self.num_cached = 0
        self.ref_counts = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._hashes: list[bytes | None] = [None] * num_blocks
        self._by_hash: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    def find(self, block_hashes: Iterable[bytes]) -> list[int]:
        """The ids of the blocks that hold the longest cached prefix of a chain of hashes, without referencing them."""
        found = []
        for block_hash in block_hashes:
            block_id = self._by_hash.get(block_hash)
            if block_id is None:
                break
            found.append(block_id)
        return found

    def num_allocatable(self, found: Iterable[int]) -> int:
        """How many blocks could still be allocated once those that were found are referenced."""
        return self.num_free - sum(self.ref_counts[block_id] == 0 for block_id in found)

    def reference(self, block_ids: Iterable[int]) -> None:
        for block_id in block_ids:
            count = self.ref_counts[block_id]
            self.ref_counts[block_id] = count + 1
            if count == 0:
                del self._free[block_id]
                self.num_cached -= self._hashes[block_id] is not None
            elif count == 1:
                self.num_shared += 1

    def allocate(self, count: int) -> list[int]:
        """Take free blocks, dropping what they held, and return their ids. Raises KeyError if fewer are free."""
        block_ids = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block_id in block_ids:
            self._forget(block_id)
            self.ref_counts[block_id] = 1
        return block_ids

    def release(self, block_table: Sequence[int]) -> None:
        """Drop one reference to each block of a table. Its last blocks are reused first: heads are shared by more."""
        for block_id in reversed(block_table):
            self.ref_counts[block_id] = count = self.ref_counts[block_id] - 1
            if count == 1:
                self.num_shared -= 1
            elif count == 0:
                self._free[block_id] = None
                if self._hashes[block_id] is None:
                    self._free.move_to_end(block_id, last=False)
                else:
                    self.num_cached += 1

    def publish(self, block_id: int, block_hash: bytes) -> None:
        """Enter a full block, which must be referenced, in the prefix cache. The first block with a hash keeps it."""
        if block_hash not in self._by_hash and self._hashes[block_id] is None:
            self._hashes[block_id] = block_hash
            self._by_hash[block_hash] = block_id

    def withdraw(self, block_hashes: Iterable[bytes]) -> None:
        """Remove the free blocks with these hashes from the prefix cache; they are the next to be allocated."""
        for block_hash in block_hashes:
            block_id = self._by_hash.get(block_hash)
            if block_id is not None and self.ref_counts[block_id] == 0:
                self._forget(block_id)
                self._free.move_to_end(block_id, last=False)

    def _forget(self, block_id: int) -> None:
        """Remove a free block from the prefix cache."""
        block_hash = self._hashes[block_id]
        if block_hash is not None:
            self._hashes[block_id] = None
            self.num_cached -= 1
            del self._by_hash[block_hash]
