"""Prompt lookup: which tokens are drafted, and how many."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest

from app.scheduler.ngram import MAX_DRAFT_TOKENS, MAX_INDEXED_TOKENS, MAX_SLOTS, TRIAL_STEPS, Drafter

WORTH = 13.0


def draft(token_ids: Iterable[int], most: int = 2, stop_token_ids: Iterable[int] = ()) -> list[int]:
    known = array("i", token_ids)
    return list(Drafter(len(known)).draft(known, most, frozenset(stop_token_ids)))


def lengths(num_steps: int, right: bool, drafter: Drafter, worth: float = WORTH) -> list[int]:
    """The draft length in each of these steps, in a text that always repeats the same token."""
    drafts = []
    for _ in range(num_steps):
        draft = drafter.draft(array("i", [7] * 20), drafter.num_paying(worth), ())
        drafter.learn(len(draft), len(draft) if right else 0)
        drafts.append(len(draft))
    return drafts


def test_the_draft_is_what_followed_the_same_tokens_before() -> None:
    assert draft([0, 0, 5, 6, 8, 9, 1, 5, 6]) == [8, 9]


def test_the_last_occurrence_counts() -> None:
    assert draft([0, 0, 5, 6, 8, 8, 5, 6, 9, 9, 5, 6]) == [9, 9]


def test_a_longer_match_counts_more_than_a_later_one() -> None:
    assert draft([0, 3, 4, 5, 6, 8, 8, 1, 5, 6, 9, 9, 3, 4, 5, 6]) == [8, 8]


def test_one_token_alone_is_no_match() -> None:
    assert draft([0, 0, 0, 1, 5, 8, 9, 2, 5]) == []


@pytest.mark.parametrize("token_ids", [[], [1], [1, 1], [1, 2, 3, 4], range(500)], ids=len)
def test_without_repetition_there_is_no_draft(token_ids: Iterable[int]) -> None:
    assert draft(token_ids) == []


def test_a_draft_that_reaches_the_end_continues_with_its_own_beginning() -> None:
    assert draft([1, 2, 3, 1, 2, 3, 1], most=6) == [2, 3, 1, 2, 3, 1]


def test_a_draft_is_no_longer_than_asked_for() -> None:
    text = [0, 0, 5, 6, 8, 9, 1, 5, 6]
    assert [len(draft(text, most)) for most in (-1, 0, 1)] == [0, 0, 1]


def test_a_draft_ends_before_a_stop_token() -> None:
    text = [0, 0, 5, 6, 8, 9, 1, 5, 6]
    assert draft(text, stop_token_ids=[9]) == [8]
    assert draft(text, stop_token_ids=[8, 9]) == []


def test_text_without_repetition_does_not_change_the_estimate() -> None:
    drafter = Drafter(1000)
    for length in range(400):
        assert drafter.draft(array("i", range(length)), drafter.num_paying(WORTH), ()) == ()
    assert drafter.num_paying(WORTH) == Drafter(100).num_paying(WORTH) > 0
    assert drafter.draft(array("i", [*range(400), 7, 8]), 2, ()) == (9, 10)


def test_a_draft_is_as_long_as_its_last_token_pays() -> None:
    """At first each is right with a chance of a half, if those before it are: the third is in one of eight cases."""
    for worth, length in [(2.1, 1), (3.9, 1), (4.1, 2), (7.9, 2), (8.1, 3), (15.9, 3), (1e9, MAX_DRAFT_TOKENS)]:
        assert lengths(1, right=True, drafter=Drafter(100), worth=worth) == [length]


def test_drafts_grow_to_the_limit_while_they_are_accepted() -> None:
    assert lengths(4, right=True, drafter=Drafter(100)) == [3, 10, MAX_DRAFT_TOKENS, MAX_DRAFT_TOKENS]


def test_drafts_shrink_when_they_are_rejected_and_grow_again() -> None:
    drafter = Drafter(100)
    lengths(5, right=True, drafter=drafter)
    shrinking = lengths(12, right=False, drafter=drafter)
    assert shrinking == sorted(shrinking, reverse=True)
    assert (shrinking[0], shrinking[-1]) == (MAX_DRAFT_TOKENS, 0)
    assert sum(shrinking) < 3 * MAX_DRAFT_TOKENS
    assert lengths(3 * TRIAL_STEPS, right=True, drafter=drafter)[-1] == MAX_DRAFT_TOKENS


@pytest.mark.parametrize("worth", [1.5, WORTH, 65.0])
def test_where_drafts_are_never_accepted_they_nearly_cease(worth: float) -> None:
    drafter = Drafter(100)
    lengths(100, right=False, drafter=drafter, worth=worth)
    assert sum(lengths(10 * TRIAL_STEPS, right=False, drafter=drafter, worth=worth)) == 10


@pytest.mark.parametrize("worth", [1.5, WORTH])
def test_where_drafts_do_not_pay_a_trial_and_a_few_accepted_tokens_resume_them(worth: float) -> None:
    drafter = Drafter(100)
    assert lengths(1, right=True, drafter=drafter, worth=worth)[0] >= 1
    assert lengths(3 * TRIAL_STEPS, right=True, drafter=drafter, worth=worth)[-1] == MAX_DRAFT_TOKENS


@pytest.mark.parametrize(("worth", "at_least"), [(3.0, 1), (1.25, 0)])
def test_half_accepted_is_enough_only_if_a_draft_token_is_cheap(worth: float, at_least: int) -> None:
    drafter = Drafter(100)
    total = 0
    for step in range(200):
        draft = drafter.draft(array("i", [7] * 20), drafter.num_paying(worth), ())
        drafter.learn(len(draft), min(len(draft), step % 2))
        total += len(draft)
    assert (total / 200 >= at_least) if at_least else (total / 200 < 0.1)


def test_a_long_text_is_indexed_piece_by_piece() -> None:
    text = array("i", [*range(3 * MAX_INDEXED_TOKENS), MAX_INDEXED_TOKENS + 598, MAX_INDEXED_TOKENS + 599])
    drafter = Drafter(len(text))
    drafts = [drafter.draft(text, 1, ()) for _ in range(4)]
    assert drafts == [(), (), (MAX_INDEXED_TOKENS + 600,), (MAX_INDEXED_TOKENS + 600,)]


def test_the_index_of_an_endless_text_is_bounded() -> None:
    drafter = Drafter(10**9)
    drafter.draft(array("i", range(100)), 1, ())
    assert len(drafter._slots) == MAX_SLOTS
