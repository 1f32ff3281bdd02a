"""How many blocks the cache gets, how long a sequence may be, and what is advised where that is too little."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.model import memory
from app.model.memory import HOST_SHARE, CacheMemory, CacheTooSmall, StepLimits, available_bytes, plan_cache
from app.settings import parse_bytes

KIB, MIB = 2**10, 2**20

SETTINGS: dict[str, Any] = {
    "bytes_per_block": 64 * KIB,
    "block_size": 16,
    "available": 100 * MIB,
    "given": None,
    "max_num_seqs": 4,
    "model_limit": 1024,
    "max_model_len": None,
    "shared_with_others": False,
}


def plan(**changes: Any) -> tuple[int, int]:
    settings = {**SETTINGS, **changes}
    memory = CacheMemory(*(settings[name] for name in ("available", "given", "shared_with_others")))
    limits = StepLimits(settings["max_num_seqs"], 512, settings["model_limit"], settings["max_model_len"])
    return plan_cache(settings["bytes_per_block"], settings["block_size"], memory, limits)


def refusal(**changes: object) -> str:
    with pytest.raises(CacheTooSmall) as caught:
        plan(**changes)
    return str(caught.value)


def advised(message: str, option: str) -> str:
    match = re.search(rf"{option} (\S+?)(,|$)", message)
    assert match is not None, message
    return match[1]


# What is chosen


def test_memory_that_is_ours_alone_is_taken_whole() -> None:
    assert plan() == (1600, 1024)


def test_of_shared_memory_no_more_is_taken_than_all_sequences_could_fill() -> None:
    assert plan(shared_with_others=True) == (4 * 64, 1024)
    assert plan(shared_with_others=True, max_model_len=100) == (4 * 7, 100), "7 blocks of 16 hold 100 tokens"
    assert plan(shared_with_others=True, available=10 * MIB) == (160, 1024)


def test_a_given_size_is_taken_as_it_is() -> None:
    for shared in (True, False):
        assert plan(given=200 * MIB, shared_with_others=shared) == (3200, 1024)
        assert plan(given=5 * MIB, shared_with_others=shared) == (80, 1024)


def test_a_part_of_a_block_is_left_over() -> None:
    assert plan(given=128 * KIB - 1, max_model_len=16) == (1, 16)


def test_a_wanted_length_is_kept() -> None:
    assert plan(max_model_len=77) == (1600, 77)
    assert plan(max_model_len=1024) == (1600, 1024)


def test_without_a_wanted_length_the_cache_may_shorten_it() -> None:
    assert plan(given=640 * KIB) == (10, 160)
    assert plan(given=64 * KIB) == (1, 16)


def test_a_wanted_length_may_fill_the_cache_to_the_last_token() -> None:
    assert plan(given=640 * KIB, max_model_len=160) == (10, 160)
    assert "less than one sequence of 161" in refusal(given=640 * KIB, max_model_len=161)


# What is advised


def test_a_length_beyond_the_model_is_refused_with_the_longest() -> None:
    message = refusal(max_model_len=1025)
    assert "--max-model-len 1025" in message
    limit = re.search(r"(\d+) positions", message)
    assert limit is not None
    assert plan(max_model_len=int(limit[1])) == (1600, 1024)


TOO_SMALL = [
    pytest.param({"given": 640 * KIB, "max_model_len": 161}, id="a given size"),
    pytest.param({"given": 100 * KIB, "max_model_len": 1000}, id="one block"),
    pytest.param({"available": 3 * MIB, "max_model_len": 1023}, id="what there is"),
    pytest.param({"available": 3 * MIB, "max_model_len": 1023, "shared_with_others": True}, id="what others leave"),
    pytest.param({"given": 7 * MIB, "bytes_per_block": 3 * MIB, "max_model_len": 1000}, id="large blocks"),
    pytest.param({"given": 5000, "bytes_per_block": 1000, "max_model_len": 100}, id="tiny blocks"),
    pytest.param(
        {"available": 10**6, "bytes_per_block": 1000, "max_model_len": 16_001, "model_limit": 10**5}, id="long"
    ),
]


@pytest.mark.parametrize("changes", TOO_SMALL)
def test_the_advised_size_of_the_cache_works_and_little_less_does_not(changes: dict[str, Any]) -> None:
    size = advised(refusal(**changes), "--kv-cache-memory")
    given = parse_bytes(size)
    assert isinstance(given, int)
    assert plan(**{**changes, "given": given})[1] == changes["max_model_len"]
    refusal(**{**changes, "given": given - MIB})


@pytest.mark.parametrize("changes", TOO_SMALL)
def test_the_advised_length_works_and_one_more_does_not(changes: dict[str, Any]) -> None:
    length = int(advised(refusal(**changes), "--max-model-len"))
    assert plan(**{**changes, "max_model_len": length})[1] == length
    refusal(**{**changes, "max_model_len": length + 1})


def test_a_cache_without_a_block_is_refused_and_no_length_is_advised() -> None:
    message = refusal(given=64 * KIB - 1)
    assert "--max-model-len" not in message
    given = parse_bytes(advised(message, "--kv-cache-memory"))
    assert plan(given=given) == (64, 1024)


def test_no_memory_at_all_is_refused_and_no_length_is_advised() -> None:
    """A container can have used more than its limit allows."""
    for available in (0, -1, -MIB):
        message = refusal(available=available)
        assert "holds 0 tokens in 0 MiB" in message
        assert "--max-model-len" not in message


# What there is


def test_the_host_gives_a_share_of_what_is_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    total = psutil.virtual_memory().total
    assert 0 < available_bytes() <= total * HOST_SHARE


def test_a_container_gives_a_share_of_what_its_limit_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{3 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{2 * MIB}\n")
    assert available_bytes() == int(MIB * HOST_SHARE)


def test_a_container_without_a_limit_gives_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{2 * MIB}\n")
    assert available_bytes() > MIB


def test_a_limit_above_what_the_machine_has_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{2**60}\n")
    (tmp_path / "memory.current").write_text("0\n")
    assert available_bytes() <= psutil.virtual_memory().total * HOST_SHARE
