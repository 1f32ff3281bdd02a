"""Why an engine could not be started, in words for the operator. Standard library only."""

from __future__ import annotations

import logging

logger = logging.getLogger("millrace.engine")

MAX_ERROR_CHARACTERS = 300
"""How much of an error's text is shown: some errors quote whole files."""


class CannotServe(ValueError):
    """The model or the configuration is at fault; the message is a complete sentence that says what would work."""


def reason_of(error: Exception) -> str:
    """Why a start failed, as a sentence. An unforeseen error is quoted, and its traceback goes to the log."""
    if isinstance(error, CannotServe):
        return str(error)
    logger.critical("the engine cannot start", exc_info=error)
    return f"the engine cannot start: {in_words(error)} (the log has the traceback)"


def in_words(error: BaseException) -> str:
    """The first line of an error and, if it was caused by others, of the one at their root."""
    root = error
    while (cause := _cause_of(root)) is not None:
        root = cause
    return _first_line(error) if root is error else f"{_first_line(error)}, because of {_first_line(root)}"


def _cause_of(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    shown = line if len(line) <= MAX_ERROR_CHARACTERS else f"{line[:MAX_ERROR_CHARACTERS]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__
