"""What an operator is told of an error that nobody foresaw."""

from __future__ import annotations

import logging

import pytest

from app.engine.failures import MAX_ERROR_CHARACTERS, CannotServe, in_words, reason_of


def raised(error: Exception, cause: Exception | None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_a_model_that_cannot_be_served_speaks_for_itself() -> None:
    assert reason_of(CannotServe("OPT has no heads; use another")) == "OPT has no heads; use another"


def test_any_other_error_is_told_in_its_own_words_and_its_traceback_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.CRITICAL, "millrace.engine"):
        reason = reason_of(raised(KeyError("n_head"), None))
    assert reason == "the engine cannot start: KeyError: 'n_head' (the log has the traceback)"
    assert "Traceback" in caplog.text


def test_of_a_chain_of_causes_the_first_and_the_last_are_told() -> None:
    root = OSError("no space left")
    error = raised(RuntimeError("cannot load\nand more"), raised(ValueError("between"), root))
    assert in_words(error) == "RuntimeError: cannot load, because of OSError: no space left"


def test_an_error_while_another_is_handled_is_because_of_it() -> None:
    try:
        try:
            raise KeyError("a")
        except KeyError:
            raise ValueError from ZeroDivisionError("hidden" * MAX_ERROR_CHARACTERS)
    except ValueError as error:
        told = in_words(error)
    assert told.startswith("ValueError, because of ZeroDivisionError: hiddenhidden")
    assert len(told) < MAX_ERROR_CHARACTERS + 100
