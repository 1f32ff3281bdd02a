"""An answer is overdue if it has been owed for too long, in time during which the watching process was running."""

from __future__ import annotations

from app.engine.watchdog import Watchdog, interval_of

LIMIT = 20.0
INTERVAL = interval_of(LIMIT)


def looks_until_overdue(watchdog: Watchdog, sign: float | None, seconds: float = INTERVAL, most: int = 100) -> int:
    """How often it is asked until it says so; `most` if it never does."""
    return next((look for look in range(most) if watchdog.is_overdue(seconds, LIMIT, sign)), most)


def test_silence_is_tolerated_up_to_the_limit_and_not_much_longer() -> None:
    assert looks_until_overdue(Watchdog(), sign=7.0) == LIMIT / INTERVAL + 1


def test_a_sign_of_life_resets_the_time() -> None:
    watchdog = Watchdog()
    for sign in range(5):
        assert looks_until_overdue(watchdog, float(sign), most=15) == 15
    assert looks_until_overdue(watchdog, 9.0) == LIMIT / INTERVAL + 1


def test_an_engine_that_owes_nothing_is_never_overdue() -> None:
    assert looks_until_overdue(Watchdog(), sign=None) == 100


def test_time_in_which_the_watching_process_was_suspended_itself_hardly_counts() -> None:
    watchdog = Watchdog()
    watchdog.is_overdue(INTERVAL, LIMIT, 7.0)
    assert not watchdog.is_overdue(1000.0, LIMIT, 7.0)
    assert looks_until_overdue(watchdog, 7.0) == LIMIT / INTERVAL - 2
