"""Who goes on after an engine died, in which order, and who is given up."""

from __future__ import annotations

from collections.abc import Iterable

from app.engine.recovery import MOST_DEATHS, Recovery
from app.messages import Generate, SamplingParams


def recovery_of(*seq_ids: int) -> Recovery:
    recovery = Recovery()
    for seq_id in seq_ids:
        recovery.opened(Generate(seq_id, (1, 2, 3), SamplingParams(max_tokens=5)))
    return recovery


def due(recovery: Recovery) -> list[int]:
    return [command.seq_id for command in recovery.due()]


def test_nothing_is_due_while_no_engine_has_died() -> None:
    recovery = recovery_of(1, 2)
    recovery.progressed([1, 2])
    assert due(recovery) == []


def test_sequences_that_ran_are_due_one_by_one_and_then_all_that_had_waited() -> None:
    recovery = recovery_of(1, 2, 3, 4)
    assert recovery.engine_died([2, 1]) == []
    assert due(recovery) == [1]
    assert due(recovery) == [], "the first has not grown yet"
    recovery.progressed([1])
    assert due(recovery) == [2]
    recovery.progressed([1])
    assert due(recovery) == [], "it was another one that grew"
    recovery.progressed([1, 2])
    assert due(recovery) == [3, 4]


def test_the_next_is_due_when_the_one_before_it_ends() -> None:
    recovery = recovery_of(1, 2)
    recovery.engine_died([1, 2])
    assert due(recovery) == [1]
    recovery.ended(1)
    assert due(recovery) == [2]


def test_a_sequence_that_ended_meanwhile_is_not_due() -> None:
    recovery = recovery_of(1, 2, 3)
    recovery.engine_died([1, 2])
    recovery.ended(1)
    recovery.ended(3)
    assert due(recovery) == [2]
    recovery.progressed([2])
    assert due(recovery) == []


def run_with_a_killer(killer: int, seq_ids: Iterable[int]) -> tuple[list[int], int, set[int]]:
    """An engine that dies whenever it is given `killer`: who was given up, how often it died, who went on."""
    recovery = recovery_of(*seq_ids)
    given_up = recovery.engine_died([*seq_ids])
    num_deaths, alive = 1, set[int]()
    while submitted := due(recovery):
        if killer in submitted:
            num_deaths += 1
            alive = set()
            condemned = recovery.engine_died([seq_id for seq_id in seq_ids if seq_id not in given_up])
            for seq_id in condemned:
                recovery.ended(seq_id)
            given_up += condemned
        else:
            alive.update(submitted)
            recovery.progressed(submitted)
    return given_up, num_deaths, alive


def test_what_kills_the_engine_every_time_is_given_up_and_nobody_else() -> None:
    for killer in range(1, 7):
        given_up, num_deaths, alive = run_with_a_killer(killer, range(1, 7))
        assert (given_up, num_deaths, alive) == ([killer], MOST_DEATHS, {1, 2, 3, 4, 5, 6} - {killer})


def test_deaths_with_nobody_on_trial_are_blamed_on_all_that_ran() -> None:
    recovery = recovery_of(1, 2)
    for _ in range(MOST_DEATHS - 1):
        assert recovery.engine_died([1]) == []
        assert due(recovery) == [1]
        recovery.progressed([1])
        assert due(recovery) == [2]
    assert recovery.engine_died([1]) == [1]
