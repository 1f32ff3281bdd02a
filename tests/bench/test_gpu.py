"""The benchmark of the GPU runs from end to end, small and on the CPU, and needs nothing of the web."""

from __future__ import annotations

import json
import os
import subprocess
from math import inf, nan
from pathlib import Path

import pytest

from tests.bench.gpu import __main__ as gpu
from tests.bench.gpu.figures import Figure, Missing, Tell, table
from tests.bench.gpu.parts import covered
from tests.bench.gpu.record import Record, comparable, facts_of
from tests.bench.gpu.scale import Scale
from tests.test_imports import ROOT, imports_at_the_top, within

WEB = (
    "fastapi",
    "starlette",
    "uvicorn",
    "sse_starlette",
    "httptools",
    "httpx",
    "pydantic",
    "pydantic_settings",
    "openai",
)
ON_A_CPU = ["peaks", "prompts", "decode", "waiting", "startup", "limit"]
IN_TRITON = ["kernels", "attention", "prepare", "tune"]


def results(directory: Path) -> list[dict[str, object]]:
    document = json.loads((directory / "gpu.json").read_text())
    assert document["facts"]["date"]
    listed: list[dict[str, object]] = document["results"]
    return listed


@pytest.mark.filterwarnings("default")  # transformers and torch's profiler have theirs
def test_sections_are_told_in_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--sections", ",".join(ON_A_CPU)]) == 0
    printed = capsys.readouterr().out
    told = results(tmp_path)
    assert {result["section"] for result in told} == {*ON_A_CPU, "parts"}
    for result in told:
        assert 0 <= result["median"] < inf, result  # type: ignore[operator]
        assert str(result["name"]) in printed


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_sections_that_need_transformers_own_run(tmp_path: Path) -> None:
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--sections", "tokens", "throughput"]) == 0
    ours = [result["median"] for result in results(tmp_path) if str(result["name"]).startswith("engine: as")]
    assert ours == [4, 4], "in float32 they are transformers' own"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_section_over_http_runs(tmp_path: Path) -> None:
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--sections", "http"]) == 0
    assert len(results(tmp_path)) == 3


def test_the_sections_of_the_kernels_run_where_triton_is(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--sections", *IN_TRITON]) == 0
    assert {result["section"] for result in results(tmp_path)} == set(IN_TRITON)
    assert json.loads((tmp_path / "tuned.json").read_text())["decode_few"].keys() == {"64", "128", "256"}


def test_a_section_that_fails_leaves_the_others_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(gpu.SECTIONS, "decode", gpu.Section("peaks", "nothing", 1))
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--sections", "decode", "peaks"]) == 1
    assert "has no attribute 'nothing'" in capsys.readouterr().out
    assert [result["section"] for result in results(tmp_path)] == ["decode", "peaks", "peaks"]


def test_a_second_command_goes_on_where_the_first_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Peaks are done, attention's first figure is known, and the second was cut off in the middle of its line."""
    whole, half = Figure("peaks", "copy", (1.0,), "TB/s"), Figure("decode", "first", (2.0,), "ms")
    record = Record(facts_of(smoke=True))
    record.add("peaks", [whole])
    record.add("decode", [Missing("decode", "not done after 9 s", is_failure=True)])
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    record.write(earlier)
    line = json.dumps(half.as_json())
    (earlier / "told.jsonl").write_text(f"{line}\n{line[:20]}")

    def measure(_: Scale, tell: Tell) -> None:
        assert tell.known("first") == half
        assert tell.known("first", runs=5) is None
        assert tell.known("second") is None
        tell(Figure("decode", "second", (3.0,), "ms"))

    monkeypatch.setattr("tests.bench.gpu.decode.measure", measure)
    asked = ["--smoke", "--out", str(tmp_path), "--sections", "peaks,decode"]
    assert gpu.main([*asked, "--after", str(earlier)]) == 0
    assert [result["name"] for result in results(tmp_path)] == ["copy", "first", "second"]
    assert "FAILED" not in capsys.readouterr().out
    monkeypatch.setattr("tests.bench.gpu.decode.measure", None)  # nothing is left to be measured
    assert gpu.main(asked) == 0


def test_figures_of_another_device_are_not_gone_on_from(tmp_path: Path) -> None:
    facts = facts_of(smoke=True)
    record = Record(facts | {"device": "another"})
    record.add("peaks", [Figure("peaks", "copy", (1.0,), "TB/s")])
    record.write(tmp_path)
    assert Record.after(tmp_path, facts) == Record(facts)
    for commit in (facts["commit"], f"{comparable(facts['commit'])} with uncommitted changes"):
        same = Record.after(tmp_path, facts | {"device": "another", "commit": commit})
        assert same.done == ["peaks"]


def test_a_section_that_failed_again_keeps_what_it_told_before() -> None:
    record = Record({})
    failed = Missing("decode", "not done after 9 s", is_failure=True)
    for told in ([Figure("decode", "a", (1.0,), "ms")], [Figure("decode", "a", (2.0,), "ms")], []):
        record.add("decode", [*told, failed])
    assert [*record.results.values()] == [Figure("decode", "a", (2.0,), "ms"), failed]
    assert record.done == []


def test_what_is_no_section_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.parse(["--sections", "peaks,speed"])
    assert "no sections speed; there are peaks, kernels" in capsys.readouterr().err


def test_a_section_that_is_cut_off_takes_with_it_what_it_started() -> None:
    """Which holds the writing end of a pipe: as long as it lives, reading waits."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as told:
        with os.fdopen(writer, "w") as output, pytest.raises(subprocess.TimeoutExpired):
            gpu.run_bounded(["sh", "-c", "sleep 600 & wait"], output, seconds=0.5)
        assert told.read() == ""


@pytest.mark.slow
def test_a_section_in_a_process_of_its_own_is_bounded_and_says_why_it_has_no_figures(tmp_path: Path) -> None:
    options = gpu.parse(["--out", str(tmp_path)])
    assert gpu.beside("peaks", options, left=5.0) == [Missing("peaks", "no time was left", is_failure=True)]
    (skipped,) = gpu.beside("peaks", options, left=100.0)
    assert isinstance(skipped, Missing)
    assert "no CUDA device" in skipped.reason
    assert not skipped.is_failure


def test_what_a_child_told_before_it_died_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is a shell that tells one figure and is killed."""
    figure = Figure("peaks", "copy", (1.0, 2.0), "TB/s", at_least=4.0)
    script = tmp_path / "child"
    script.write_text(
        f"#!/bin/sh\necho '{json.dumps(figure.as_json())}' > {tmp_path}/told.jsonl\necho ouch\nkill -9 $$\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(script))
    kept, missing = gpu.beside("peaks", gpu.parse(["--out", str(tmp_path)]), left=100.0)
    assert kept == figure
    assert isinstance(missing, Missing)
    assert missing.reason == "ended with -9: ouch"


def test_an_aim_is_met_or_missed_by_the_median_and_what_is_no_number_misses_it() -> None:
    assert Figure("", "", (0.1, 0.9, 0.8), "", at_least=0.8).is_met
    assert not Figure("", "", (0.1, 0.9, 0.7), "", at_least=0.8).is_met
    assert Figure("", "", (1.0,), "", at_most=1.0).is_met
    assert not Figure("", "", (nan,), "", at_most=1.0).is_met
    assert Figure("", "", (1.0,), "").is_met is None
    assert "NO" in table([Figure("a", "b", (nan,), "", at_most=1.0)])


def test_a_device_is_busy_while_any_kernel_runs_and_in_the_short_gaps_of_a_recording() -> None:
    assert covered([]) == 0
    assert covered([(0, 10), (5, 20)]) == 20
    assert covered([(0, 10), (13, 20)]) == 20, "3 us to start the next one"
    assert covered([(13, 20), (0, 10), (100, 110)]) == 30
    assert covered([(0, 100), (10, 20)]) == 100


def test_a_smoke_run_is_on_the_cpu(tmp_path: Path) -> None:
    assert Scale(smoke=True, out=tmp_path).device.type == "cpu"


def test_the_benchmark_needs_nothing_of_the_web() -> None:
    """Read rather than run: what its modules import at the top, and so on down."""
    seen: set[str] = set()
    pending = [f"tests.bench.gpu.{path.stem}" for path in (ROOT / "tests/bench/gpu").glob("*.py")]
    while pending:
        current = pending.pop()
        path = ROOT.joinpath(*current.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if current in seen or not file.exists():
            continue
        seen.add(current)
        names = imports_at_the_top(file.read_text())
        assert {name for name in names if within(name, *WEB)} == set(), current
        pending.extend(name for name in names if within(name, "app", "tests"))
    assert {"app.engine.startup", "app.model.runner", "tests.bench.shapes"} <= seen
