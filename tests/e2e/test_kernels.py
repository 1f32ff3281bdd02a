"""Starts on machines that cannot have compiled kernels as they should: they serve, and say what would help."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.model.native import compiler, variants
from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving, started

SMALL = ("--kv-cache-memory", "64MiB", *ONE_THREAD)
PROMPT = "the miller and the wheel"


@pytest.fixture
def _quick_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's compiler, without the time it takes to make code fast; and a cache of its own."""
    quick = tmp_path / "quick-cc"
    quick.write_text(f'#!/bin/sh\nexec {shlex.join(compiler.find_compiler())} "$@" -O0\n')
    quick.chmod(0o755)
    monkeypatch.setenv("CC", str(quick))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@contextmanager
def answering(model: TextModel, *options: str) -> Iterator[ServerProcess]:
    """A server that gives the model's own answer."""
    with serving(model.directory, *SMALL, *options) as server:
        body = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0}
        answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
        assert answer["choices"][0]["text"] == model.continuation(PROMPT, 8)
        yield server


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compiler")
def test_a_start_that_finds_half_of_a_library_makes_it_again(model: TextModel, tmp_path: Path) -> None:
    compiler.compile_library(variants.SOURCE)
    [made] = (tmp_path / "cache" / "millrace").glob("*.so")
    content = made.read_bytes()
    made.unlink()  # this process has it mapped
    made.write_bytes(content[: len(content) // 2])
    with answering(model) as server:
        assert f"the compiled kernels in {made} are not used: it is not what was compiled" in server.output
        assert "native backend" in server.output
    assert made.read_bytes() == content


@pytest.mark.slow
def test_a_start_without_a_compiler_says_what_that_costs_and_what_would_help(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with answering(model) as server:
        assert re.search(
            r"the sdpa backend runs the model.* native, which is faster, cannot: .*no C compiler.*gcc libc6-dev",
            server.output,
        )
        assert "sdpa backend" in server.output


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compiler")
def test_a_start_whose_cache_cannot_be_written_to_has_its_kernels(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with answering(model) as server:
        assert "set XDG_CACHE_HOME to a directory that can be written to" in server.output
        assert "native backend" in server.output


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compiler")
def test_two_starts_at_once_on_an_empty_cache_both_serve(model: TextModel) -> None:
    with started(model.directory, *SMALL) as first, started(model.directory, *SMALL) as second:
        for server in (first, second):
            server.until_ready()
            assert "native backend" in server.output


@pytest.mark.slow
@pytest.mark.parametrize("asked", [("--backend", "native"), ("--quantization", "int8")], ids=" ".join)
def test_kernels_that_are_asked_for_and_cannot_be_had_end_the_start_with_the_reason(
    asked: tuple[str, str], model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with started(model.directory, *SMALL, *asked) as server:
        assert server.exit_code(seconds=60) != 0
        assert re.search(rf"{' '.join(asked)} cannot run this model .*no C compiler .*gcc libc6-dev", server.output)
