"""The block tables of sequences: finding cached prefixes, allocating, publishing and releasing blocks."""

from __future__ import annotations

from array import array

from app.scheduler.block_pool import BlockPool
from app.scheduler.sequence import Sequence


class BlockTables:
    """Fills and empties the block tables of sequences from one pool."""

    def __init__(self, pool: BlockPool, block_size: int) -> None:
        self._pool = pool
        self._block_size = block_size

    def num_blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size)

    def check_capacity(self, sequence: Sequence) -> None:
        """Raise ValueError if the whole pool is too small for the sequence at its full length."""
        num_blocks = self.num_blocks_for(sequence.max_num_tokens)
        if num_blocks > self._pool.num_blocks:
            raise ValueError(
                f"{sequence.max_num_tokens} tokens need {num_blocks} blocks, the cache has {self._pool.num_blocks}"
            )

    def num_lacking(self, sequence: Sequence, end: int) -> int:
        """How many blocks the table lacks for computing tokens up to `end`."""
        return max(0, self.num_blocks_for(end) - len(sequence.block_table))

    def find_cached(self, sequence: Sequence) -> list[int]:
        """Cached blocks of the sequence's prefix; at least one token is left to compute, as its logits are needed."""
        if sequence.params.prompt_logprobs is not None:
            return []
        hashes = sequence.hash_full_blocks(self._block_size)
        return self._pool.find(hashes[: (sequence.num_tokens - 1) // self._block_size])

    def fits(self, sequence: Sequence, found: list[int], spare: int) -> bool:
        """Whether there are enough free blocks for all known tokens that `found` does not cover, and `spare` more."""
        num_new_blocks = self.num_blocks_for(sequence.num_tokens) - len(found)
        return self._pool.num_allocatable(found) >= num_new_blocks + spare

    def fill(self, sequence: Sequence, found: list[int]) -> None:
        """Give a waiting sequence the cached blocks found, and new blocks for the rest of its known tokens."""
        self._pool.reference(found)
        sequence.block_table.extend(found)
        self.extend(sequence, self.num_lacking(sequence, sequence.num_tokens))
        sequence.num_computed_tokens = len(found) * self._block_size

    def extend(self, sequence: Sequence, num_blocks: int) -> None:
        sequence.block_table.extend(self._pool.allocate(num_blocks))

    def publish(self, sequence: Sequence, start: int, end: int) -> None:
        """Publish the blocks that tokens `start` to `end` complete, as far as their ids are known."""
        first, last = start // self._block_size, end // self._block_size
        if first < last:
            hashes = sequence.hash_full_blocks(self._block_size)
            for index in range(first, min(last, len(hashes))):
                self._pool.publish(sequence.block_table[index], hashes[index])

    def withdraw(self, sequence: Sequence) -> None:
        """Drop the prefix-cache entries of a sequence whose logits were not finite. Blocks that other sequences still
        reference stay; how those sequences end decides about them.
        """
        self._pool.withdraw(sequence.block_hashes)

    def release(self, sequence: Sequence) -> None:
        """Release a sequence's blocks, even if steps in flight still use them. Steps are computed one after another, so
        the next owner of the blocks writes to them later.
        """
        self._pool.release(sequence.block_table)
        sequence.block_table = array("i")
