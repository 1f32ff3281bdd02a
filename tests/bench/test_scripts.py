"""The scripts run from end to end on a tiny model, and print a figure for everything they are about."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from tests.bench import (
    api_cost,
    attention,
    continuous_batching,
    fairness,
    host_work,
    http_share,
    interference,
    make_gguf,
    make_model,
    peers,
    quantization,
    readiness,
    sampling,
    speculation,
)
from tests.bench.paged_case import Attend, World
from tests.bench.peer_servers import millrace
from tests.bench.random_model import fill_up, make_text
from tests.e2e.directories import train_tokenizer
from tests.e2e.server import ROOT

TINY = ["--shape", "tiny", "--rounds", "1", "--threads", "1"]


@pytest.mark.slow
def test_continuous_batching_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    continuous_batching.main([*TINY, "--streams", "3", "--prompt-tokens", "8", "--output-tokens", "8"])
    printed = capsys.readouterr().out
    for expected in (
        "seed:",
        "commit:",
        "host:",
        "output tokens/s",
        "mean TTFT",
        "outside forward",
        "3 at once over one",
    ):
        assert expected in printed


@pytest.mark.slow
def test_sampling_prints_a_table_for_each_number_of_streams(capsys: pytest.CaptureFixture[str]) -> None:
    sampling.main(["demo", "--streams", "1", "3", "--steps", "3", "--repeat", "1"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "commit:", "backend", "1 at once", "3 at once", "times greedy", *sampling.PARAMS):
        assert expected in printed


@pytest.mark.slow
def test_fairness_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    fairness.main([*TINY, "--flood", "20", "--flood-tokens", "30", "--requests", "2", "--requests-unshared", "1"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "fair sharing", "first come, first served", "growth"):
        assert expected in printed


@pytest.mark.slow
def test_fairness_prints_its_table_of_a_hostile_flood(capsys: pytest.CaptureFixture[str]) -> None:
    fairness.main([*TINY, "--hostile", "--flood", "30", "--requests", "2"])
    printed = capsys.readouterr().out
    assert "30 hostile requests" in printed
    assert "fair sharing" in printed
    assert "first come, first served" not in printed


@pytest.mark.slow
def test_readiness_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    readiness.main(["--shape", "tiny", "--rounds", "1", "--streams", "3"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "/ready while well", "503 after SIGTERM", "whole in the end: 3"):
        assert expected in printed


@pytest.mark.slow
def test_interference_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    interference.main([*TINY, "--streams", "2", "--prompt-tokens", "200", "--budgets", "64", "256"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "usual gap", "longest gap as 200 tokens arrive", "64 tokens a step", "256 tokens a step"):
        assert expected in printed


@pytest.mark.slow
def test_speculation_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    speculation.main(["--rounds", "1", "--threads", "1", "--streams", "1", "3", "--output-tokens", "24"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "copying, 1 at once", "copying, 3 at once", "random, 3 at once", "ratio", "guessed"):
        assert expected in printed


@pytest.mark.slow
def test_two_servers_are_compared_and_what_they_missed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_model.main(["tiny", str(tmp_path / "25M"), "--dtype", "bfloat16"])
    options = peers.parse(["--models", str(tmp_path), "--few", "--repeat", "1", "--threads", "1"])
    ours = partial(millrace, tmp_path / "25M", "none", peers.STREAMS, 1)
    capsys.readouterr()
    peers.measure(peers.Case("ours, ours", "25M", "int8", ours, dict.fromkeys(peers.FIGURES, 1e9)), options)
    _, _, *rows = capsys.readouterr().out.splitlines()  # the case, and the head of the table
    for row, figure in zip(rows, peers.FIGURES.values(), strict=True):
        assert row.startswith(figure.name)
        assert row.endswith(("missed", "not measured")) != figure.smaller_is_better, row


@pytest.mark.slow
def test_the_share_that_http_leaves_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model.main(["tiny", str(tmp_path), "--dtype", "bfloat16"])
    http_share.main([str(tmp_path), "--few", "--repeat", "1", "--threads", "1"])
    assert "2 streams, output tokens/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "in_gguf"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.11.self_attn.q_norm.weight", "blk.11.attn_q_norm.weight"),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
    ],
)
def test_weights_have_the_names_that_llama_cpp_looks_for(name: str, in_gguf: str) -> None:
    assert make_gguf.tensor_name(name) == in_gguf


def test_a_model_is_made_with_its_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model.main(["tiny", str(tmp_path), "--dtype", "bfloat16", "--seed", "3"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["hidden_size"], config["dtype"], config["tie_word_embeddings"]) == (64, "bfloat16", False)
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == config["vocab_size"] == 512
    assert "bfloat16, seed 3" in capsys.readouterr().out


def test_a_vocabulary_beyond_what_was_trained_is_filled_up_with_tokens_that_have_a_text() -> None:
    trained = train_tokenizer(make_text(0), 512)
    filled = fill_up(trained, 700)
    assert filled.get_vocab_size() == 700
    assert filled.decode([600, 699]) == "w600w699"
    text = make_text(0)[0]
    assert filled.encode(text).ids == trained.encode(text).ids


TINY_CASES = ["--shape", "25M", "--rows", "3", "--contexts", "40", "--chunk", "20", "--cached", "0", "24"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ways_of_attention_are_checked_and_timed(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    threads = str(torch.get_num_threads())
    ways = ["sdpa", "plain", "nested", "varlen", "native"]
    attention.main([*TINY_CASES, "--dtype", dtype, "--threads", threads, "--ways", *ways])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("decode", "prefill "))]
    assert {" ".join(row[:2]) for row in rows} == {"decode 40", "prefill 20"}
    timed = {row[2 if row[0] == "decode" else 4] for row in rows if row[3 if row[0] == "decode" else 5] != "-"}
    assert {"sdpa", "plain", "nested", "native"} <= timed
    assert all("does not run here" in " ".join(row) for row in rows if "-" in row)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler, of torch itself
def test_flex_attention_is_compiled_checked_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    attention.main([*TINY_CASES, "--threads", str(torch.get_num_threads()), "--ways", "flex"])
    assert capsys.readouterr().out.count("mostly compiling") == 3


def test_a_way_that_computes_something_else_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(world: World) -> Attend:
        right = attention.WAYS["sdpa"](world)
        return lambda: right() * 1.01

    monkeypatch.setitem(attention.WAYS, "plain", wrong)
    with pytest.raises(attention.Wrong, match=r"plain is off by .*e-0[123] in decode 40"):
        attention.main([*TINY_CASES, "--threads", str(torch.get_num_threads()), "--ways", "plain"])


@pytest.mark.slow
def test_the_cost_of_a_token_is_printed_with_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    api_cost.main(["--streams", "3", "--tokens", "20", "--rounds", "1", "--split"])
    printed = capsys.readouterr().out
    for expected in ("host:", "us a token", "/v1/chat/completions", "1.00", "%  event loop", "%  sockets"):
        assert expected in printed


@pytest.mark.slow
@pytest.mark.parametrize("way", [[], ["--one-by-one", "--drawn"]], ids=["overlap", "one by one"])
def test_the_work_of_the_host_is_printed_part_by_part(way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    host_work.main(["--seqs", "1", "3", "--steps", "5", "--rounds", "1", "--against", str(ROOT), *way])
    *_, header, alone, alone_other, three, three_other = capsys.readouterr().out.splitlines()
    assert header.split()[-len(host_work.PARTS) :] == [*host_work.PARTS]
    for line, name in ((alone, "1 sequences, this"), (alone_other, "1 sequences, other"), (three, "3 sequences, this")):
        *parts, whole = map(float, line.removeprefix(name).split())
        assert len(parts) == len(host_work.PARTS) - 1
        assert whole > 0
    assert three_other.startswith("3 sequences, other")


@pytest.mark.slow
def test_the_cost_of_fewer_bits_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    quantization.main(["--documents", "4"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = {row[0]: row[1:] for row in rows if row[0] in ("float32", "bfloat16", "int8", "int4")}
    assert len(table) == 4
    assert table["float32"][2] == "100.00%"
    assert all(float(row[2].rstrip("%")) > 80 for row in table.values())
    assert float(table["int4"][0]) < float(table["int8"][0]) < float(table["bfloat16"][0])
