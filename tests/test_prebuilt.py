"""Libraries compiled beforehand: what stands in for a compiler in an image, on whatever processor it runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from app.model.native import library, prebuilt

SOURCE = """
int level(void) {
#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
    return 5;
#elif defined(__AVX512BF16__)
    return 4;
#elif defined(__AVX512VNNI__)
    return 3;
#elif defined(__AVX512BW__)
    return 2;
#elif defined(__AVX2__)
    return 1;
#else
    return 0;
#endif
}
int kind(void) { return KIND; }
"""

KINDS = [("-DKIND=1",), ("-DKIND=2",)]

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="chooses among levels of x86-64")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source whose library says for which level it was compiled, and all its libraries."""
    monkeypatch.setattr(prebuilt, "DIRECTORY", tmp_path / "prebuilt")
    path = tmp_path / "levels.c"
    path.write_text(SOURCE)
    prebuilt.build(path, KINDS)
    return path


def on_processor(monkeypatch: pytest.MonkeyPatch, flags: frozenset[str]) -> None:
    monkeypatch.setattr(prebuilt, "processor_flags", lambda: flags)


@x86_64
@pytest.mark.parametrize(("number", "level"), list(enumerate(prebuilt.LEVELS)))
def test_a_processor_gets_the_best_that_it_has(
    number: int, level: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code itself is not of that level (it only returns a number), so that it runs here."""
    on_processor(monkeypatch, prebuilt.LEVELS[level][1] | {"sse4_2", "something_newer"})
    for kind in KINDS:
        loaded = prebuilt.load(source, kind)
        assert loaded is not None
        assert loaded.level() == number
        assert f"-DKIND={loaded.kind()}" == kind[0]


@x86_64
def test_a_processor_that_lacks_one_instruction_set_of_a_level_gets_the_level_below(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_processor(monkeypatch, prebuilt.LEVELS["x86-64-v4-bf16"][1] - {"avx512vl"})
    loaded = prebuilt.load(source, KINDS[0])
    assert loaded is not None
    assert loaded.level() == 1


def test_libraries_of_another_source_are_not_found(source: Path) -> None:
    source.write_text(SOURCE + "int more(void) { return 0; }")
    assert prebuilt.load(source, KINDS[0]) is None


def test_the_kernels_are_taken_from_there_when_there_is_no_compiler(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    caplog.set_level("INFO")
    assert library.find_library(source, KINDS[0]).kind() == 1
    assert "kernels compiled beforehand for" in caplog.text


def test_they_are_taken_from_there_when_the_compiler_does_not_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that was installed without the C library's headers."""
    (tmp_path / "cc").write_text("#!/bin/sh\necho stdlib.h: No such file or directory >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert library.find_library(source, KINDS[0]).kind() == 1


@x86_64
def test_one_that_was_damaged_is_not_loaded_but_that_of_the_level_below(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_processor(monkeypatch, prebuilt.LEVELS["x86-64-v4"][1])
    damaged = prebuilt.path_of(source, "x86-64-v4", KINDS[0])
    os.truncate(damaged, damaged.stat().st_size // 2)
    loaded = prebuilt.load(source, KINDS[0])
    assert loaded is not None
    assert loaded.level() == 1
    assert f"{damaged} are not used" in caplog.text
