"""Traces of real traffic: CSV files with TIMESTAMP, ContextTokens and GeneratedTokens, as published by Azure."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from app.bench.outcome import BenchError
from app.bench.workload import PlannedRequest, Stage

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read_trace(path: Path, seed: str, speedup: float = 1.0, limit: int | None = None) -> Stage:
    """The first `limit` lines as an open loop, replayed `speedup` times as fast. Raises BenchError."""
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise BenchError(f"{path} has no column {', '.join(missing)}; a trace has {', '.join(COLUMNS)}")
            lines = [_line(row, number, path) for number, row in enumerate(islice(rows, limit), start=2)]
    except OSError as error:
        raise BenchError(f"the trace {path} cannot be read: {error.strerror}") from error
    if not lines:
        raise BenchError(f"{path} has no lines")
    lines.sort(key=lambda line: line[0])
    start = lines[0][0]
    requests = tuple(
        PlannedRequest(f"{seed}/trace{number}", prompt, output, (at - start) / speedup)
        for number, (at, prompt, output) in enumerate(lines)
    )
    span = requests[-1].at
    return Stage(requests, None, len(requests) / span if span else float(len(requests)))


def _line(row: dict[str, str], number: int, path: Path) -> tuple[float, int, int]:
    try:
        prompt, output = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        at = parse_timestamp(row["TIMESTAMP"])
    except (TypeError, ValueError) as error:
        raise BenchError(f"{path}, line {number}: {error}") from error
    return at, max(prompt, 1), max(output, 1)


def parse_timestamp(text: str) -> float:
    """A time in seconds, from a plain number or a date and time with any number of decimals (Azure has seven)."""
    try:
        return float(text)
    except ValueError:
        pass
    whole, _, decimals = text.strip().partition(".")
    found = re.fullmatch(r"(\d*)(.*)", decimals)
    assert found is not None
    fraction, zone = found.groups()
    moment = datetime.fromisoformat(whole + zone)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() + float(f"0.{fraction or 0}")
