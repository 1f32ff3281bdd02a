"""When a process that ended is restarted, and when that would not help."""

from __future__ import annotations

import signal

import pytest

from app.engine.restarts import (
    MAX_DELAY_SECONDS,
    MAX_FAILED_RESTARTS,
    MAX_KILLED_STARTS,
    STABLE_SECONDS,
    End,
    GivenUp,
    Restarts,
)

KILLED_WHILE_LOADING = End(-signal.SIGKILL, "loading the weights")
FAILED = End(0, "loading the weights", error="model.safetensors is truncated")


def died(served: float) -> End:
    return End(-signal.SIGKILL, "warming up", served)


def has_served() -> Restarts:
    restarts = Restarts()
    restarts.delay_after(died(STABLE_SECONDS))
    return restarts


def test_a_first_start_that_fails_with_an_error_is_not_repeated() -> None:
    with pytest.raises(GivenUp, match=r"^model.safetensors is truncated$"):
        Restarts().delay_after(FAILED)


def test_an_exit_without_a_message_is_reported_with_its_code_and_phase() -> None:
    with pytest.raises(GivenUp, match="ended with code 1 while it was importing torch; the log may say why"):
        Restarts().delay_after(End(1, "importing torch"))


def test_a_killed_start_is_repeated_even_if_it_was_the_first() -> None:
    assert Restarts().delay_after(KILLED_WHILE_LOADING) == 0


def test_starts_that_are_killed_again_and_again_are_given_up_with_the_likely_cause() -> None:
    restarts = Restarts()
    for _ in range(MAX_KILLED_STARTS - 1):
        restarts.delay_after(KILLED_WHILE_LOADING)
    with pytest.raises(GivenUp, match=r"SIGKILL.*5 times.*loading the weights.*out of memory.*--kv-cache-memory"):
        restarts.delay_after(KILLED_WHILE_LOADING)


def test_a_crash_in_compiled_code_is_not_reported_as_a_lack_of_memory() -> None:
    restarts = Restarts()
    for _ in range(MAX_KILLED_STARTS - 1):
        restarts.delay_after(End(-signal.SIGSEGV, "warming up"))
    with pytest.raises(GivenUp, match=r"SIGSEGV.*--backend sdpa"):
        restarts.delay_after(End(-signal.SIGSEGV, "warming up"))


def test_a_restart_that_fails_with_an_error_is_tried_a_few_times_more() -> None:
    restarts = has_served()
    for _ in range(MAX_FAILED_RESTARTS - 1):
        restarts.delay_after(FAILED)
    with pytest.raises(GivenUp, match="truncated"):
        restarts.delay_after(FAILED)


def test_a_successful_start_resets_the_count_of_failed_ones() -> None:
    restarts = has_served()
    for _ in range(10):
        restarts.delay_after(FAILED)
        restarts.delay_after(KILLED_WHILE_LOADING)
        restarts.delay_after(died(served=1))


def test_delays_double_up_to_a_limit_and_becoming_ready_does_not_reset_them() -> None:
    restarts = Restarts()
    delays = [restarts.delay_after(died(served=STABLE_SECONDS / 2)) for _ in range(20)]
    assert delays[:5] == [0, 0.25, 0.5, 1, 2]
    assert delays[-1] == MAX_DELAY_SECONDS


def test_serving_for_a_while_resets_the_delays() -> None:
    restarts = Restarts()
    for _ in range(10):
        restarts.delay_after(died(served=1))
    assert restarts.delay_after(died(served=STABLE_SECONDS)) == 0
    assert restarts.delay_after(died(served=1)) == 0.25
