"""The blocks of sequences: what of a prefix is cached, what a sequence needs, takes, makes findable and gives back."""

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

    def num_lacking(self, sequence: Sequence, end: int) -> int:
        """Blocks to add to the table before tokens up to `end` can be computed."""
        return max(0, self.num_blocks_for(end) - len(sequence.block_table))

    def find_cached(self, sequence: Sequence) -> list[int]:
        """Cached blocks of this sequence's prefix: at least one token is left to compute, for it gives the logits."""
        if sequence.params.prompt_logprobs is not None:
            return []
        hashes = sequence.hash_full_blocks(self._block_size)
        return self._pool.find(hashes[: (sequence.num_tokens - 1) // self._block_size])

    def fits(self, sequence: Sequence, found: list[int], spare: int) -> bool:
        """Whether there are blocks for all known tokens beside those found, and `spare` more."""
        num_new_blocks = self.num_blocks_for(sequence.num_tokens) - len(found)
        return self._pool.num_allocatable(found) >= num_new_blocks + spare

    def fill(self, sequence: Sequence, found: list[int]) -> None:
        """Give a waiting sequence the blocks found and new ones for the rest of its known tokens."""
        self._pool.reference(found)
        sequence.block_table.extend(found)
        self.extend(sequence, self.num_lacking(sequence, sequence.num_tokens))
        sequence.num_computed_tokens = len(found) * self._block_size

    def extend(self, sequence: Sequence, num_blocks: int) -> None:
        sequence.block_table.extend(self._pool.allocate(num_blocks))

    def publish(self, sequence: Sequence, start: int, end: int) -> None:
        """Make the blocks findable that tokens `start` to `end` fill to the brim, as far as their ids are known."""
        first, last = start // self._block_size, end // self._block_size
        if first < last:
            hashes = sequence.hash_full_blocks(self._block_size)
            for index in range(first, min(last, len(hashes))):
                self._pool.publish(sequence.block_table[index], hashes[index])

    def withdraw(self, sequence: Sequence) -> None:
        """What led to no finite numbers must not be found by the next one that asks; blocks that others still hold are
        judged by how those end."""
        self._pool.withdraw(sequence.block_hashes)

    def release(self, sequence: Sequence) -> None:
        """Give a sequence's blocks back, even if steps that are on their way still use them: steps run one after the
        other, so that whoever has the blocks next writes to them later."""
        self._pool.release(sequence.block_table)
        sequence.block_table = array("i")
