"""A container's CPU limit is heeded: whole cores, at least one."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from app.model import cores


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", inf), ("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("30000 10000\n", 3)],
)
def test_a_cpu_limit_counts_whole_cores(
    limit: str, expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    monkeypatch.setattr(cores, "_CPU_MAX", file)
    assert cores.container_cores() == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_CPU_MAX", tmp_path / "cpu.max")
    assert cores.container_cores() == inf
