"""Why an engine could not be started, in words for the operator. Standard library only."""

from __future__ import annotations

import logging

logger = logging.getLogger("millrace.engine")

MAX_ERROR_CHARACTERS = 300
"""Characters that are told of one error: some carry whole files."""


class CannotServe(ValueError):
    """The model or the configuration is at fault; the message is a whole sentence that says what would work."""


def reason_of(error: Exception) -> str:
    """Why a start failed. Of an error that nobody foresaw, its own words; its traceback goes to the log."""
    if isinstance(error, CannotServe):
        return str(error)
    logger.critical("the engine cannot start", exc_info=error)
    return f"the engine cannot start: {in_words(error)} (the log has the traceback)"


def in_words(error: BaseException) -> str:
    """The first line of an error, and of the one at the root of it if that is another."""
    root = error
    while (cause := _cause_of(root)) is not None:
        root = cause
    return _told(error) if root is error else f"{_told(error)}, because of {_told(root)}"


def _cause_of(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    shown = line if len(line) <= MAX_ERROR_CHARACTERS else f"{line[:MAX_ERROR_CHARACTERS]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__
