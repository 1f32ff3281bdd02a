"""Which sequences continue after an engine died, in which order, and which one is given up."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.recovery import PROVING_STEPS, Recovery, halves
from app.messages import Generate, SamplingParams
from tests.dying_engine import World, any_of, at, together

BEYOND_THE_SEARCH = 4
"""Deaths that one killer costs beside those that halve the suspects: the first, which accuses nobody, the second, which
makes suspects, and two with the last of them alone."""


def most_deaths(num_sequences: int) -> int:
    return ceil(log2(num_sequences)) + BEYOND_THE_SEARCH


def recovery_of(*seq_ids: int) -> Recovery:
    """All of them submitted and begun."""
    recovery = Recovery()
    for seq_id in seq_ids:
        recovery.opened(Generate(seq_id, (1, 2, 3), SamplingParams(max_tokens=5)))
        assert due(recovery) == [seq_id]
    recovery.began(seq_ids)
    return recovery


def due(recovery: Recovery) -> list[int]:
    return [command.seq_id for command in recovery.due()]


def prove(recovery: Recovery, *seq_ids: int) -> None:
    recovery.began(seq_ids)
    for _ in range(PROVING_STEPS):
        recovery.grew(seq_ids)


def test_new_sequences_are_due_at_once() -> None:
    recovery = recovery_of(1, 2)
    assert due(recovery) == []


def test_after_one_death_all_sequences_continue_at_once() -> None:
    recovery = recovery_of(1, 2, 3)
    assert recovery.engine_died() is None
    assert due(recovery) == [1, 2, 3]


def test_a_sequence_that_has_ended_is_not_due_and_delays_no_other() -> None:
    recovery = recovery_of(1, 2, 3)
    recovery.engine_died()
    recovery.ended(2)
    assert due(recovery) == [1, 3]
    recovery.began([1, 3])
    recovery.engine_died()
    assert due(recovery) == [1]
    recovery.ended(1)
    assert due(recovery) == [3]


def test_after_a_second_death_proven_sequences_go_first_and_then_half_of_the_suspects() -> None:
    recovery = recovery_of(*range(1, 10))
    recovery.engine_died()
    assert due(recovery) == [*range(1, 10)]
    prove(recovery, 1, 2)
    recovery.began([3, 4, 5, 6])
    recovery.grew([1, 2, 3])
    assert recovery.engine_died() is None
    groups = []
    while group := due(recovery):
        groups.append(group)
        assert due(recovery) == [], "one at a time"
        prove(recovery, *group)
    assert groups == [[1, 2], [3, 4], [5], [6], [7, 8, 9]]


def test_a_single_suspect_goes_first_and_new_sequences_wait_until_it_is_proven() -> None:
    recovery = recovery_of(1, 2)
    recovery.engine_died()
    due(recovery)
    prove(recovery, 2)
    recovery.began([1])
    recovery.engine_died()
    assert due(recovery) == [1]
    recovery.opened(Generate(3, (1,), SamplingParams(max_tokens=5)))
    assert due(recovery) == []
    prove(recovery, 1)
    assert due(recovery) == [2, 3]


@pytest.mark.parametrize("num_sequences", [1, 2, 3, 8, 33, 64])
@pytest.mark.parametrize("position", [0, 1, 3], ids=["in its prompt", "in its first decode step", "later"])
def test_one_killer_is_found_wherever_it_stands_and_only_it_ends_early(num_sequences: int, position: int) -> None:
    for killer in {0, 1, num_sequences // 2, num_sequences - 2, num_sequences - 1} & {*range(num_sequences)}:
        world = World([6] * num_sequences, at(killer, position=position)).run()
        assert world.condemned == [killer]
        assert world.num_deaths <= most_deaths(num_sequences)


def test_a_killer_that_arrives_while_others_run_is_found_among_them() -> None:
    world = World([50] * 5, at(5), newcomers={20: [0]})
    world.num_tokens.append(50)
    world.run()
    assert world.condemned == [5]
    assert world.num_deaths == 5


def test_a_killer_that_never_begins_is_found_too() -> None:
    world = World([6] * 20, refuses=[13]).run()
    assert world.condemned == [13]
    assert world.num_deaths <= most_deaths(20)


@pytest.mark.parametrize("killers", [(0, 1), (3, 40), (62, 63), (10, 11, 12)])
def test_several_killers_are_found_one_after_another(killers: tuple[int, ...]) -> None:
    world = World([6] * 64, at(*killers)).run()
    assert sorted(world.condemned) == [*killers]
    assert world.num_deaths <= len(killers) * most_deaths(64)


@pytest.mark.parametrize("pair", [(0, 1), (3, 40), (62, 63)])
def test_of_two_sequences_that_only_kill_together_one_ends(pair: tuple[int, int]) -> None:
    world = World([300] * 64, together(*pair)).run()
    [condemned] = world.condemned
    assert condemned in pair
    assert world.num_deaths <= 3 * most_deaths(64)


def test_a_sequence_waiting_to_be_scheduled_is_no_suspect() -> None:
    recovery = recovery_of(1)
    for seq_id in (2, 3):
        recovery.opened(Generate(seq_id, (1,), SamplingParams(max_tokens=5)))
        due(recovery)
    recovery.engine_died()
    assert due(recovery) == [1, 2, 3]
    recovery.began([1])
    recovery.engine_died()
    assert due(recovery) == [1]


@given(st.sets(st.integers(1, 60), max_size=20))
def test_deaths_with_an_external_cause_condemn_no_sequence(killed_at: set[int]) -> None:
    """However many they are, as long as engines live for a few steps."""
    world = World([100] * 16, killed_at={10 * step for step in killed_at}).run()
    assert world.condemned == []


@given(st.integers(1, 16))
def test_four_engines_killed_in_their_first_steps_condemn_no_sequence(num_more: int) -> None:
    """It takes as many in a row as one killer among those that begin in a step would."""
    world = World([100] * (15 + num_more), killed_at=range(20, 24)).run()
    assert (world.num_deaths, world.condemned) == (4, [])


def test_a_sequence_whose_engine_always_dies_a_little_later_still_finishes() -> None:
    """It is no killer of a certain token: each engine dies five steps after it has begun, whoever runs."""
    since = {"death": 0}

    def every_so_often(_: object) -> bool:
        since["death"] = (since["death"] + 1) % 30
        return since["death"] == 0

    assert World([100] * 8, every_so_often).run().condemned == []


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_innocent_sequence_finishes_and_deaths_are_few(data: st.DataObject) -> None:
    num_sequences = data.draw(st.integers(1, 64))
    ids = st.integers(0, num_sequences - 1)
    killers = data.draw(st.dictionaries(ids, st.integers(0, 5), max_size=3))
    pair = data.draw(st.none() | st.sets(ids, min_size=2, max_size=2)) if num_sequences > 1 else None
    outside = data.draw(st.sets(st.integers(1, 100), max_size=1))
    world = World(
        data.draw(st.lists(st.integers(1, 20), min_size=num_sequences, max_size=num_sequences)),
        any_of(*(at(killer, position=position) for killer, position in killers.items()), together(*pair or (-1,))),
        capacity=data.draw(st.integers(1, 64)),
        num_beginning=data.draw(st.integers(1, 64)),
        prompt_steps=data.draw(st.integers(1, 4)),
        killed_at=outside,
    ).run()
    innocent = {*range(num_sequences)} - killers.keys() - (pair or set())
    assert innocent <= set(world.ended)
    must_end = {killer for killer, position in killers.items() if position < world.num_tokens[killer]}
    assert must_end - (pair or set()) <= set(world.condemned) <= killers.keys() | (pair or set())
    num_causes = len(killers) + 3 * (pair is not None) + len(outside)
    assert world.num_deaths <= num_causes * most_deaths(num_sequences)


def test_halves_are_halves_of_what_is_left() -> None:
    assert list(halves([*range(8)])) == [[0, 1, 2, 3], [4, 5], [6], [7]]
    assert list(halves([1])) == [[1]]
