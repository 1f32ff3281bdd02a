"""One sequence alone: its counts, its end, and the hashes of its blocks."""

from __future__ import annotations

import pytest

from app.messages import FinishReason
from app.scheduler.batch import ScheduledRow
from app.scheduler.sequence import Sequence
from tests.builders import sequence

BLOCK_SIZE = 4


def hashes(prompt: list[int], cache_salt: str = "") -> list[bytes]:
    return sequence(0, prompt, cache_salt=cache_salt).hash_full_blocks(BLOCK_SIZE)


def test_counts_follow_from_the_tokens() -> None:
    s = sequence(0, [7, 8, 9], max_tokens=5)
    ScheduledRow.next_of(s, 3).advance()
    assert (s.num_tokens, s.num_unknown_tokens) == (4, 1)
    s.append(4)
    assert list(s.token_ids) == [7, 8, 9, 4]
    assert (s.num_prompt_tokens, s.num_tokens) == (3, 4)
    assert (s.num_owed_tokens, s.num_unknown_tokens) == (1, 0)
    assert s.max_num_tokens == 8


def test_a_sequence_ends_with_the_last_token_it_may_have() -> None:
    s = sequence(0, [7], max_tokens=2)
    s.append(1)
    assert s.finish_reason is None
    s.append(2)
    assert s.finish_reason is FinishReason.LENGTH


def test_a_stop_token_ends_a_sequence_and_is_kept() -> None:
    s = sequence(0, [7], max_tokens=9, stop_token_ids=[5])
    s.append(4)
    s.append(5)
    assert s.finish_reason is FinishReason.STOP
    assert list(s.token_ids) == [7, 4, 5]


def test_a_stop_token_in_last_place_is_a_stop() -> None:
    s = sequence(0, [7], max_tokens=1, stop_token_ids=[5])
    s.append(5)
    assert s.finish_reason is FinishReason.STOP


def test_a_stop_token_in_the_prompt_stops_nothing() -> None:
    s = sequence(0, [5, 5], max_tokens=3, stop_token_ids=[5])
    s.append(4)
    assert s.finish_reason is None


def test_only_full_blocks_have_a_hash() -> None:
    assert [len(hashes(list(range(length)))) for length in (3, 4, 7, 8, 9)] == [0, 1, 1, 2, 2]


def test_hashes_grow_with_the_tokens_and_do_not_change() -> None:
    s = sequence(0, list(range(7)))
    before = list(s.hash_full_blocks(BLOCK_SIZE))
    s.append(7)
    assert s.hash_full_blocks(BLOCK_SIZE) == [*before, hashes(list(range(8)))[1]]


def test_equal_prefixes_have_equal_hashes_as_far_as_they_go() -> None:
    one, other = hashes([1, 2, 3, 4, 5, 6, 7, 8]), hashes([1, 2, 3, 4, 5, 6, 7, 9])
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_block_of_equal_tokens_after_another_prefix_has_another_hash() -> None:
    assert hashes([1, 2, 3, 4, 5, 6, 7, 8])[1] != hashes([9, 2, 3, 4, 5, 6, 7, 8])[1]
    assert hashes([1, 2, 3, 4, 1, 2, 3, 4])[0] != hashes([1, 2, 3, 4, 1, 2, 3, 4])[1]


def test_the_order_of_tokens_matters() -> None:
    assert hashes([1, 2, 3, 4]) != hashes([4, 3, 2, 1])


@pytest.mark.parametrize(("salt", "other"), [("", "a"), ("a", "b"), ("a", "aa"), ("", "\0")])
def test_another_salt_gives_other_hashes(salt: str, other: str) -> None:
    one, two = hashes(list(range(8)), salt), hashes(list(range(8)), other)
    assert one == hashes(list(range(8)), salt)
    assert not set(one) & set(two)


def test_a_salt_cannot_imitate_the_hash_of_a_prefix() -> None:
    """Whoever chooses salts must not reach a block that follows a prefix he does not know."""
    secret = next(h for h in map(_ascii_hash, range(200_000)) if h is not None)
    prefix, parent = secret
    assert hashes([*prefix, 1, 2, 3, 4])[1] != hashes([1, 2, 3, 4], parent.decode())[0]


def _ascii_hash(number: int) -> tuple[list[int], bytes] | None:
    prefix = [number, 0, 0, 0]
    [block_hash] = hashes(prefix)
    return (prefix, block_hash) if block_hash.isascii() else None


def test_priority_goes_before_arrival() -> None:
    late_but_urgent, early = sequence(0, priority=-1), sequence(1, priority=0)
    late_but_urgent.arrival, early.arrival = 2, 1
    assert late_but_urgent.order < early.order


def row_of(s: Sequence, start: int, end: int) -> ScheduledRow:
    s.num_computed_tokens = start
    return ScheduledRow.next_of(s, end - start)


def test_a_row_samples_only_when_it_reaches_the_last_token() -> None:
    s = sequence(0, 8)
    assert row_of(s, 0, 7).num_samples == 0
    assert row_of(s, 4, 8).num_samples == 1


def test_a_row_reports_each_prompt_token_but_the_first_from_the_position_before_it() -> None:
    s = sequence(0, 8, prompt_logprobs=1)
    assert row_of(s, 0, 8).prompt_logprob_positions == range(7)
    assert list(row_of(s, 0, 3).prompt_logprob_positions) == [0, 1, 2]
    assert list(row_of(s, 6, 8).prompt_logprob_positions) == [6]
    assert not row_of(s, 7, 8).prompt_logprob_positions


def test_prompt_tokens_already_reported_are_not_reported_again() -> None:
    s = sequence(0, 8, prompt_logprobs=1)
    s.num_prompt_logprobs = 5
    assert list(row_of(s, 0, 8).prompt_logprob_positions) == [5, 6]
    assert not row_of(s, 0, 4).prompt_logprob_positions


def test_a_sequence_that_wants_no_prompt_logprobs_reports_none() -> None:
    assert not row_of(sequence(0, 8), 0, 8).prompt_logprob_positions
