"""The command line of `millrace bench`."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from app.bench.cli import DESCRIPTION, WORKLOADS
from app.bench.outcome import BenchError
from app.bench.session import headers_of, run_bench, settings_of
from app.cli import build_parser, main
from tests.scripted_engine import listening, make_app
from tests.test_bench_session import SHORT, engine, options_of

ROOT = Path(__file__).parent.parent


def test_help_lists_every_workload_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    for word in (*WORKLOADS, "--url", "--serve", "--compare", "--slo", "--seed", "--json", "--html", "--trace"):
        assert word in out


def test_every_example_in_the_help_is_valid() -> None:
    examples = [line.split("  ")[1].split() for line in DESCRIPTION.splitlines() if line.startswith("  millrace")]
    assert len(examples) > 5
    for _, *arguments in examples:
        settings_of(vars(build_parser().parse_args(arguments)))


def test_the_seed_is_random_unless_it_is_given() -> None:
    seeds = {settings_of(options_of()).seed for _ in range(4)}
    assert len(seeds) > 1
    assert settings_of(options_of("--seed", "5")).seed == 5


def test_a_comparison_is_repeated_three_times_by_default() -> None:
    assert settings_of(options_of("--compare", "http://x")).repeat == 3
    assert settings_of(options_of("--compare", "http://x", "--repeat", "1")).repeat == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace"], "needs --trace FILE"),
        (["ramp", "--rate", "1,2"], "one --rate"),
        (["ramp", "--ramp-factor", "1"], "above 1"),
        (["--slo", "fast"], "write limits like"),
        (["--url", "http://x", "--serve", "demo"], "not both"),
    ],
)
def test_invalid_options_end_with_2_and_a_reason(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_bench(options_of(*arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("millrace bench: ")
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["fly"], ["--requests", "0"], ["--rate", "-1"], ["--token-ids", "9:3"]])
def test_an_invalid_argument_ends_with_a_sentence_that_names_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("; `millrace bench --help` lists what there is\n")


def test_an_invalid_header_is_refused_without_showing_it() -> None:
    assert headers_of(["Authorization: Bearer a:b"]) == {"Authorization": "Bearer a:b"}
    with pytest.raises(BenchError) as refused:
        headers_of(["Bearer secret"])
    assert "secret" not in str(refused.value)


async def test_the_command_prints_its_report_and_writes_its_files(tmp_path: Path) -> None:
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "html")]
    async with listening(make_app(engine())) as (url, _):
        arguments = ["bench", "streams", "--concurrency", "2", "--url", url, *files, *SHORT]
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", *arguments, cwd=ROOT, stdout=PIPE, stderr=PIPE
        )
        out, err = await command.communicate()
    assert (command.returncode, err) == (0, b"")
    assert out.startswith(b"millrace bench: streams\n  server ")
    assert json.loads((tmp_path / "json").read_text())["benchmark"] == "millrace bench: streams"
    assert (tmp_path / "html").read_text().startswith("<!doctype html>")


def test_a_server_that_is_not_there_ends_with_1_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run_bench(options_of("--url", f"http://127.0.0.1:{port}")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"millrace bench: no answer from http://127.0.0.1:{port}/v1/models: ")


def test_importing_the_command_line_imports_nothing_of_the_benchmark_but_its_options() -> None:
    script = "import sys, app.cli; print(*sorted(name for name in sys.modules if name.startswith('app.bench')))"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == ["app.bench", "app.bench.cli"]
