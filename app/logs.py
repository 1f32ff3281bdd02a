"""Logs of both processes in one format: lines to read, or JSON; each with the request it belongs to."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

LogFormat = Literal["console", "json"]

ERASE = "\r\x1b[K"
"""On a terminal: back to the beginning of the line, and nothing on it. A start shows its progress there."""

TALKATIVE = ("uvicorn", "httpx", "httpx2")
"""Loggers of others that are heard from warnings on: what they say below, our own lines say better."""

LOG_ONLY = {"is_log_only": True}
"""`extra` of a record that a terminal need not show, since the console prints the same line for a person."""


@dataclass(frozen=True, slots=True)
class LogContext:
    """The ids that link a line to its request, and to the trace if there is one."""

    request_id: str
    trace_id: str = ""
    span_id: str = ""

    def fields(self) -> dict[str, object]:
        fields = {"request_id": self.request_id, "trace_id": self.trace_id, "span_id": self.span_id}
        return {name: value for name, value in fields.items() if value}


log_context: ContextVar[LogContext | None] = ContextVar("log_context", default=None)
"""Set while a request is answered: every line written meanwhile carries its ids."""


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Send everything that is logged in this process to standard error, warnings of Python included."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    elif is_terminal(sys.stderr):
        handler.setFormatter(TerminalFormatter())
        handler.addFilter(lambda record: level == "debug" or not getattr(record, "is_log_only", False))
    else:
        handler.setFormatter(ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def is_terminal(stream: TextIO) -> bool:
    """Whether a line that is written there can be rewritten in place."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What a line contains besides its message: given as `extra={"fields": …}`, and the request it belongs to."""
    context = log_context.get()
    return (context.fields() if context is not None else {}) | getattr(record, "fields", {})


class ConsoleFormatter(logging.Formatter):
    """`2026-11-24 12:00:00.123 INFO     millrace.request: … name=value`, in local time.

    Fields that a record names as `fields_in_message` are not repeated.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-8s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        in_message = getattr(record, "fields_in_message", ())
        fields = [(name, value) for name, value in fields_of(record).items() if name not in in_message]
        return " ".join([super().formatMessage(record), *(f"{name}={_written(value)}" for name, value in fields)])


class TerminalFormatter(ConsoleFormatter):
    """The same, in the place of what a start shows of its progress: that comes again below."""

    def format(self, record: logging.LogRecord) -> str:
        return ERASE + super().format(record)


class JsonFormatter(logging.Formatter):
    """An object a line. Times are UTC; fields that a line does not have are left out."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.processName,
        }
        line |= fields_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _written(value: object) -> str:
    """A value that is distinct from its neighbours; nothing in it can begin a new line."""
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def wall_clock(moment: float) -> float:
    """A moment of the monotonic clock, in seconds since the epoch."""
    return time.time() - (time.monotonic() - moment)
