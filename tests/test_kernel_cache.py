"""Compiled kernels on disk: what is found there is loaded only if it is what was compiled, and else made again."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.model.native import compiler, library
from app.model.native.compiler import compile_library
from tests.e2e.server import ROOT

PADDING = 1 << 20
"""Bytes that make the library large enough to be cut anywhere."""

SOURCE = f"static const char padding[{PADDING}] = {{1}}; int answer(int i) {{ return padding[i] ? 42 : -1; }}"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "kernels.c"
    path.write_text(SOURCE)
    return path


def kept(tmp_path: Path) -> Path:
    [found] = (tmp_path / "cache" / "millrace").glob("*.so")
    return found


def answer(loaded: ctypes.CDLL) -> int:
    number: int = loaded.answer(0)
    return number


def put(path: Path, content: bytes) -> None:
    """As a new file: this process has the old one mapped."""
    path.unlink()
    path.write_bytes(content)


def cut_to(percent: int) -> Callable[[Path], None]:
    return lambda path: put(path, path.read_bytes()[: path.stat().st_size * percent // 100])


def exchange(path: Path) -> None:
    """Another build, whole, and with its own digest."""
    other = path.parent.parent / "other.c"
    other.write_text(SOURCE.replace("42", "41"))
    compile_library(other)
    [made] = path.parent.glob("other-*.so")
    for suffix in ("", ".sha256"):
        Path(f"{made}{suffix}").replace(f"{path}{suffix}")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    put(path, bytes(content))


def put_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_unreadable(path: Path) -> None:
    """For whoever runs the tests, root too: a link to itself."""
    path.unlink()
    path.symlink_to(path)


def digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"cut to {percent} %": cut_to(percent) for percent in (5, 25, 50, 75)},
    "empty": cut_to(0),
    "one bit": flip_a_bit,
    "of another build": exchange,
    "without its digest": lambda path: digest_of(path).unlink(),
    "with an empty digest": lambda path: put(digest_of(path), b""),
    "with a directory for its digest": lambda path: put_a_directory(digest_of(path)),
    "with a named pipe for its digest": lambda path: put_a_pipe(digest_of(path)),
    "a directory": put_a_directory,
    "a named pipe": put_a_pipe,
    "unreadable": make_unreadable,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_library_that_is_not_what_was_compiled_is_never_loaded_but_made_again(
    damage: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(compile_library(source)) == 42
    assert caplog.text == ""
    path = kept(tmp_path)
    DAMAGES[damage](path)
    assert answer(compile_library(source)) == 42
    assert f"the compiled kernels in {path} are not used" in caplog.text
    caplog.clear()
    assert answer(compile_library(source)) == 42
    assert ("are not used" in caplog.text) == ("directory" in damage), "a directory is nobody's to remove"


def test_a_library_is_compiled_once_and_nothing_else_is_left_behind(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    compile_library(source)
    made = kept(tmp_path)
    assert sorted(made.parent.iterdir()) == [made, digest_of(made)]
    assert list((tmp_path / "temporary").iterdir()) == []
    before = made.stat().st_mtime_ns
    compile_library(source)
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize("cache", ["/dev/null", "/proc/no/such/place"])
def test_a_cache_that_cannot_be_written_to_costs_a_line_and_not_the_kernels(
    cache: str, source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert answer(compile_library(source)) == 42
    assert "set XDG_CACHE_HOME to a directory that can be written to" in caplog.text


def test_a_user_without_a_home_has_kernels_too(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert answer(compile_library(source)) == 42
    assert "XDG_CACHE_HOME" in caplog.text


def test_starts_at_the_same_time_on_an_empty_cache_all_have_the_kernels(source: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.model.native.compiler import compile_library as compile;"
        "print(compile(Path(sys.argv[1])).answer(0))"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(source)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(4)
    ]
    assert [start.communicate(timeout=60)[0] for start in starts] == ["42\n"] * 4
    assert answer(compile_library(source)) == 42
    assert len(list(kept(tmp_path).parent.iterdir())) == 2


def test_without_a_compiler_the_reason_says_what_would_help(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(library.NoKernels, match=r"no C compiler \(no-such-compiler\): install one .*gcc"):
        library.find_library(source, ())


def test_a_compiler_that_fails_is_reported_in_its_own_words(source: Path) -> None:
    source.write_text("this is not C")
    with pytest.raises(library.NoKernels, match=r"libc6-dev(.|\n)*error:"):
        library.find_library(source, ())


def test_a_compiler_that_makes_nothing_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "true")
    with pytest.raises(library.NoKernels, match="true ended without an error and compiled nothing"):
        library.find_library(source, ())


def test_there_are_no_kernels_for_some_dtypes() -> None:
    with pytest.raises(library.NoKernels, match="no compiled kernels for float16: use --dtype bfloat16"):
        library.load_library(torch.float16)


@pytest.mark.parametrize(("said", "arguments"), [("", []), ("cc -O1", ["-O1"]), ("env CC=x cc", ["CC=x", "cc"])])
def test_a_compiler_may_be_named_with_arguments_or_not_at_all(
    said: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", said)
    program, *others = compiler.find_compiler()
    assert Path(program).is_absolute()
    assert others == arguments
