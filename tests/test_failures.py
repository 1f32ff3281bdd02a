"""How unforeseen errors are reported to the operator."""

from __future__ import annotations

import logging

import pytest

from app.engine.failures import MAX_ERROR_CHARACTERS, CannotServe, in_words, reason_of


def raised(error: Exception, cause: Exception | None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_the_reason_why_a_model_cannot_be_served_is_its_message() -> None:
    assert reason_of(CannotServe("OPT has no heads; use another")) == "OPT has no heads; use another"


def test_any_other_error_is_quoted_and_its_traceback_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.CRITICAL, "millrace.engine"):
        reason = reason_of(raised(KeyError("n_head"), None))
    assert reason == "the engine cannot start: KeyError: 'n_head' (the log has the traceback)"
    assert "Traceback" in caplog.text


def test_the_first_and_the_last_of_a_chain_of_causes_are_quoted() -> None:
    root = OSError("no space left")
    error = raised(RuntimeError("cannot load\nand more"), raised(ValueError("between"), root))
    assert in_words(error) == "RuntimeError: cannot load, because of OSError: no space left"


def test_an_error_raised_while_handling_another_is_reported_with_it() -> None:
    try:
        try:
            raise KeyError("a")
        except KeyError:
            raise ValueError from ZeroDivisionError("hidden" * MAX_ERROR_CHARACTERS)
    except ValueError as error:
        in_short = in_words(error)
    assert in_short.startswith("ValueError, because of ZeroDivisionError: hiddenhidden")
    assert len(in_short) < MAX_ERROR_CHARACTERS + 100
