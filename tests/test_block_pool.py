"""The pool alone: what is handed out first, what is still found, and what stays referenced."""

from __future__ import annotations

import pytest

from app.scheduler.block_pool import BlockPool


def name(number: int) -> bytes:
    return bytes([number])


def hold(pool: BlockPool, numbers: list[int]) -> list[int]:
    """Fill and publish a chain of blocks, one for each number."""
    table = pool.allocate(len(numbers))
    for block_id, number in zip(table, numbers, strict=True):
        pool.publish(block_id, name(number))
    return table


def find(pool: BlockPool, numbers: list[int]) -> list[int]:
    return pool.find(name(number) for number in numbers)


def test_allocated_blocks_are_distinct_and_no_longer_free() -> None:
    pool = BlockPool(5)
    one, other = pool.allocate(2), pool.allocate(3)
    assert sorted(one + other) == [0, 1, 2, 3, 4]
    assert pool.num_free == 0
    assert pool.ref_counts == [1, 1, 1, 1, 1]


def test_more_than_is_free_cannot_be_allocated() -> None:
    pool = BlockPool(2)
    pool.allocate(1)
    with pytest.raises(KeyError):
        pool.allocate(2)


def test_a_released_chain_is_found_again() -> None:
    pool = BlockPool(4)
    table = hold(pool, [1, 2, 3])
    pool.release(table)
    assert pool.num_free == 4
    assert find(pool, [1, 2, 3]) == table


def test_a_referenced_chain_is_found_too() -> None:
    pool = BlockPool(4)
    table = hold(pool, [1, 2])
    assert find(pool, [1, 2]) == table


def test_finding_stops_at_the_first_gap() -> None:
    pool = BlockPool(4)
    table = hold(pool, [1, 2, 3])
    assert find(pool, [1, 9, 3]) == table[:1]
    assert find(pool, [9, 2, 3]) == []


def test_finding_references_nothing() -> None:
    pool = BlockPool(2)
    pool.release(hold(pool, [1]))
    find(pool, [1])
    assert pool.num_free == 2
    assert pool.ref_counts == [0, 0]


def test_an_unpublished_block_is_not_found() -> None:
    pool = BlockPool(2)
    pool.release(pool.allocate(2))
    assert find(pool, [0, 1]) == []


def test_the_least_recently_released_chain_is_reused_first() -> None:
    pool = BlockPool(2)
    older, newer = hold(pool, [1]), hold(pool, [2])
    pool.release(older)
    pool.release(newer)
    assert pool.allocate(1) == older
    assert find(pool, [1]) == []
    assert find(pool, [2]) == newer


def test_using_a_chain_again_makes_it_recently_used() -> None:
    pool = BlockPool(2)
    older, newer = hold(pool, [1]), hold(pool, [2])
    pool.release(older)
    pool.release(newer)
    pool.reference(older)
    pool.release(older)
    assert pool.allocate(2) == newer + older


def test_the_tail_of_a_chain_is_reused_before_its_head() -> None:
    pool = BlockPool(3)
    table = hold(pool, [1, 2, 3])
    pool.release(table)
    assert pool.allocate(1) == table[2:]
    assert find(pool, [1, 2, 3]) == table[:2]
    assert pool.allocate(1) == table[1:2]
    assert find(pool, [1, 2, 3]) == table[:1]


def test_blocks_that_hold_nothing_are_reused_before_those_that_can_be_found() -> None:
    pool = BlockPool(3)
    findable, empty = hold(pool, [1, 2]), pool.allocate(1)
    pool.release(findable)
    pool.release(empty)
    assert pool.allocate(1) == empty
    assert find(pool, [1, 2]) == findable


def test_a_reused_block_loses_what_it_held() -> None:
    pool = BlockPool(1)
    pool.release(hold(pool, [1]))
    [block_id] = pool.allocate(1)
    assert find(pool, [1]) == []
    pool.publish(block_id, name(2))
    assert find(pool, [2]) == [block_id]


def test_the_first_block_published_under_a_hash_keeps_it() -> None:
    pool = BlockPool(2)
    first, second = hold(pool, [1]), hold(pool, [1])
    assert find(pool, [1]) == first
    pool.release(second)
    assert pool.allocate(1) == second
    assert find(pool, [1]) == first, "the duplicate takes the hash with it when it is reused"


def test_a_block_keeps_the_first_hash_it_was_published_under() -> None:
    pool = BlockPool(1)
    [block_id] = hold(pool, [1])
    pool.publish(block_id, name(2))
    assert find(pool, [1]) == [block_id]
    assert find(pool, [2]) == []


def test_a_shared_block_is_free_only_when_the_last_holder_releases_it() -> None:
    pool = BlockPool(3)
    table = hold(pool, [1, 2])
    pool.reference(table[:1])
    assert pool.ref_counts[table[0]] == 2
    pool.release(table)
    assert pool.num_free == 2
    pool.release(table[:1])
    assert pool.num_free == 3


def test_found_blocks_that_are_free_cannot_be_allocated_as_well() -> None:
    pool = BlockPool(5)
    running, done = hold(pool, [1]), hold(pool, [2, 3])
    pool.release(done)
    assert pool.num_allocatable([]) == 4
    assert pool.num_allocatable(running) == 4
    assert pool.num_allocatable(done) == 2
    assert pool.num_allocatable(running + done) == 2
