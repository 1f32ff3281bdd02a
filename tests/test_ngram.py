"""Guessing from one's own words: what is guessed, and how often."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest

from app.scheduler.ngram import MAX_DRAFT_TOKENS, MAX_INDEXED_TOKENS, MAX_SLOTS, TRIAL_STEPS, Drafter

WORTH = 13.0


def guess(token_ids: Iterable[int], most: int = 2, stop_token_ids: Iterable[int] = ()) -> list[int]:
    known = array("i", token_ids)
    return list(Drafter(len(known)).draft(known, most, frozenset(stop_token_ids)))


def lengths(num_steps: int, right: bool, drafter: Drafter, worth: float = WORTH) -> list[int]:
    """How much is guessed in each of these steps by someone who hears the same word all the time."""
    drafts = []
    for _ in range(num_steps):
        draft = drafter.draft(array("i", [7] * 20), drafter.num_paying(worth), ())
        drafter.learn(len(draft), len(draft) if right else 0)
        drafts.append(len(draft))
    return drafts


def test_what_followed_the_same_tokens_before_is_guessed() -> None:
    assert guess([0, 0, 5, 6, 8, 9, 1, 5, 6]) == [8, 9]


def test_the_last_time_counts() -> None:
    assert guess([0, 0, 5, 6, 8, 8, 5, 6, 9, 9, 5, 6]) == [9, 9]


def test_a_longer_match_counts_more_than_a_later_one() -> None:
    assert guess([0, 3, 4, 5, 6, 8, 8, 1, 5, 6, 9, 9, 3, 4, 5, 6]) == [8, 8]


def test_one_token_alone_is_no_match() -> None:
    assert guess([0, 0, 0, 1, 5, 8, 9, 2, 5]) == []


@pytest.mark.parametrize("token_ids", [[], [1], [1, 1], [1, 2, 3, 4], range(500)], ids=len)
def test_where_nothing_repeats_nothing_is_guessed(token_ids: Iterable[int]) -> None:
    assert guess(token_ids) == []


def test_a_guess_that_reaches_the_end_goes_on_with_itself() -> None:
    assert guess([1, 2, 3, 1, 2, 3, 1], most=6) == [2, 3, 1, 2, 3, 1]


def test_no_more_is_guessed_than_wanted() -> None:
    text = [0, 0, 5, 6, 8, 9, 1, 5, 6]
    assert [len(guess(text, most)) for most in (-1, 0, 1)] == [0, 0, 1]


def test_a_guess_ends_before_a_stop_token() -> None:
    text = [0, 0, 5, 6, 8, 9, 1, 5, 6]
    assert guess(text, stop_token_ids=[9]) == [8]
    assert guess(text, stop_token_ids=[8, 9]) == []


def test_text_that_does_not_repeat_says_nothing_of_guesses() -> None:
    drafter = Drafter(1000)
    for length in range(400):
        assert drafter.draft(array("i", range(length)), drafter.num_paying(WORTH), ()) == ()
    assert drafter.num_paying(WORTH) == Drafter(100).num_paying(WORTH) > 0
    assert drafter.draft(array("i", [*range(400), 7, 8]), 2, ()) == (9, 10)


def test_a_draft_is_as_long_as_its_last_token_pays() -> None:
    """At first each is right with a chance of a half, if those before it are: the third is in one of eight cases."""
    for worth, length in [(2.1, 1), (3.9, 1), (4.1, 2), (7.9, 2), (8.1, 3), (15.9, 3), (1e9, MAX_DRAFT_TOKENS)]:
        assert lengths(1, right=True, drafter=Drafter(100), worth=worth) == [length]


def test_guesses_grow_to_the_limit_while_they_are_right() -> None:
    assert lengths(4, right=True, drafter=Drafter(100)) == [3, 10, MAX_DRAFT_TOKENS, MAX_DRAFT_TOKENS]


def test_guesses_shrink_when_they_are_wrong_and_grow_again() -> None:
    drafter = Drafter(100)
    lengths(5, right=True, drafter=drafter)
    shrinking = lengths(12, right=False, drafter=drafter)
    assert shrinking == sorted(shrinking, reverse=True)
    assert (shrinking[0], shrinking[-1]) == (MAX_DRAFT_TOKENS, 0)
    assert sum(shrinking) < 3 * MAX_DRAFT_TOKENS
    assert lengths(3 * TRIAL_STEPS, right=True, drafter=drafter)[-1] == MAX_DRAFT_TOKENS


@pytest.mark.parametrize("worth", [1.5, WORTH, 65.0])
def test_where_guesses_never_help_they_nearly_cease(worth: float) -> None:
    drafter = Drafter(100)
    lengths(100, right=False, drafter=drafter, worth=worth)
    assert sum(lengths(10 * TRIAL_STEPS, right=False, drafter=drafter, worth=worth)) == 10


@pytest.mark.parametrize("worth", [1.5, WORTH])
def test_where_guesses_do_not_pay_the_first_is_a_trial_and_a_few_right_ones_show_that_they_do(worth: float) -> None:
    drafter = Drafter(100)
    assert lengths(1, right=True, drafter=drafter, worth=worth)[0] >= 1
    assert lengths(3 * TRIAL_STEPS, right=True, drafter=drafter, worth=worth)[-1] == MAX_DRAFT_TOKENS


@pytest.mark.parametrize(("worth", "at_least"), [(3.0, 1), (1.25, 0)])
def test_half_right_is_enough_only_where_a_guess_is_cheap(worth: float, at_least: int) -> None:
    drafter = Drafter(100)
    total = 0
    for step in range(200):
        draft = drafter.draft(array("i", [7] * 20), drafter.num_paying(worth), ())
        drafter.learn(len(draft), min(len(draft), step % 2))
        total += len(draft)
    assert (total / 200 >= at_least) if at_least else (total / 200 < 0.1)


def test_a_long_text_is_taken_in_piece_by_piece() -> None:
    text = array("i", [*range(3 * MAX_INDEXED_TOKENS), MAX_INDEXED_TOKENS + 598, MAX_INDEXED_TOKENS + 599])
    drafter = Drafter(len(text))
    drafts = [drafter.draft(text, 1, ()) for _ in range(4)]
    assert drafts == [(), (), (MAX_INDEXED_TOKENS + 600,), (MAX_INDEXED_TOKENS + 600,)]


def test_the_index_of_an_endless_text_has_an_end() -> None:
    drafter = Drafter(10**9)
    drafter.draft(array("i", range(100)), 1, ())
    assert len(drafter._slots) == MAX_SLOTS
