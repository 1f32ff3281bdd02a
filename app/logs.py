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
"""`extra` of a record that a terminal need not show, since a person is told the same in a line of their own."""


@dataclass(frozen=True, slots=True)
class LogContext:
    """What leads from a line to a request, and on to its trace if it has one."""

    request_id: str
    trace_id: str = ""
    span_id: str = ""

    def fields(self) -> dict[str, object]:
        told = {"request_id": self.request_id, "trace_id": self.trace_id, "span_id": self.span_id}
        return {name: value for name, value in told.items() if value}


log_context: ContextVar[LogContext | None] = ContextVar("log_context", default=None)
"""Set while a request is answered: every line written meanwhile tells whose it is."""


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
    """What a line tells beside its message: given as `extra={"fields": …}`, and the request it belongs to."""
    context = log_context.get()
    return (context.fields() if context is not None else {}) | getattr(record, "fields", {})


class ConsoleFormatter(logging.Formatter):
    """`2026-11-24 12:00:00.123 INFO     millrace.request: … name=value`, in local time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-8s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        fields = fields_of(record).items()
        return " ".join([super().formatMessage(record), *(f"{name}={_written(value)}" for name, value in fields)])


class TerminalFormatter(ConsoleFormatter):
    """The same, in the place of what a start shows of its progress: that comes again below."""

    def format(self, record: logging.LogRecord) -> str:
        return ERASE + super().format(record)


class JsonFormatter(logging.Formatter):
    """An object a line. Times are UTC; fields that a line does not have are left out."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.processName,
        }
        told |= fields_of(record)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


def _written(value: object) -> str:
    """A value that can be told from its neighbours; nothing in it can begin a new line."""
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def wall_clock(moment: float) -> float:
    """A moment of the monotonic clock, in seconds since the epoch."""
    return time.time() - (time.monotonic() - moment)
