"""Millrace beside llama.cpp's server and vLLM on the CPU: the figures of two tables in RESULTS.md, in one run.

python -m tests.bench.peers --llama BUILD/bin --vllm VENV/bin/vllm --models DIRECTORY

`--llama` is where `llama-server` is, built for this machine (`-DGGML_NATIVE=ON`). The directory holds `0.6B` and `25M`
(`make_model --dtype bfloat16`), `0.6B-bf16.gguf` and `25M-bf16.gguf` (`make_gguf`), `0.6B-q8_0.gguf` and
`0.6B-q4_0.gguf` (`llama-quantize`). Two servers at a time take turns (`millrace bench --compare`, A B A B), and each
table is printed as soon as it is known: medians, and the median, lowest and highest of the paired ratios.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from tests.bench import http_share
from tests.bench.peer_servers import compare, llama_cpp, millrace, vllm
from tests.bench.report import print_circumstances, print_table, spread

STREAMS = 16
ONE, PREFILL, MANY, INTERFERENCE = "one stream", "prefill", "16 streams", "interference"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a load, by the name that `millrace bench` gives it, and how to show it."""

    load: str
    name: str
    metric: str
    smaller_is_better: bool = False
    scale: float = 1.0


FIGURES = {
    "decode": Figure(ONE, "one stream, decode tokens/s", "decode, tokens/s"),
    "prefill": Figure(PREFILL, "1,024-token prefill, tokens/s", "prefill, tokens/s"),
    "throughput": Figure(MANY, "16 streams, output tokens/s", "output tokens/s"),
    "ttft": Figure(MANY, "16 streams, mean TTFT, s", "TTFT mean, ms", smaller_is_better=True, scale=0.001),
    "gap": Figure(INTERFERENCE, "4 streams, 1,024 tokens arrive: longest gap, ms", "longest gap, ms", True),
    "long": Figure(INTERFERENCE, "their prefill, tokens/s", "prefill of the long prompt, tokens/s"),
}
Peer = Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True)
class Case:
    """One shape and precision of ours beside another server, and what the ratio of each figure should be."""

    name: str
    shape: str
    quantization: str
    peer: Peer
    aims: Mapping[str, float]


LARGE = {"decode": 1.05, "prefill": 1.6, "throughput": 1.3, "ttft": 0.5, "gap": 1 / 12, "long": 1.2}
SMALL = {"decode": 1.0, "prefill": 1.0, "throughput": 1.2, "ttft": 1.0, "gap": 1.0, "long": 1.0}
OUTPUT_TOKENS = 128


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    began = monotonic()
    load = f"128 prompt tokens and {OUTPUT_TOKENS} output tokens unless said"
    print_circumstances(options.seed, load=load, llama=options.llama_options or "its own defaults")
    for case in cases(options):
        if options.only in case.name:
            measure(case, options)
            print(f"({monotonic() - began:.0f} s so far)\n", flush=True)
    if options.only in http_share.NAME:
        http_share.show(options.models / "25M", options.repeat, options.threads, options.few)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=Path, help="directory of llama-server")
    parser.add_argument("--llama-options", default="", metavar="TEXT", help='more for it: "--no-repack"')
    parser.add_argument("--vllm", type=Path, help="vLLM's program")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", default="", metavar="TEXT", help="only tables with this in their name")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each server [as many as cores]")
    parser.add_argument("--few", action="store_true", help="a few tokens of everything, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def cases(options: argparse.Namespace) -> list[Case]:
    """In the order in which they are worth having, should the time not suffice."""
    models: Path = options.models
    options_of_llama = shlex.split(options.llama_options)

    def llama(file: str, *more: str) -> Peer:
        program = options.llama / "llama-server"
        return partial(llama_cpp, program, models / file, STREAMS, options.threads, *options_of_llama, *more)

    def peer_vllm(shape: str) -> Peer:
        return partial(vllm, options.vllm, models / shape, STREAMS, options.threads)

    found = []
    if options.llama:
        q8 = {"decode": 1.3, "throughput": 3.0, "prefill": 3.0}
        q4 = {"decode": 1.3, "throughput": 1.5}
        small_batches = ("-b", "128", "-ub", "128")
        found += [
            Case("25M, bfloat16, llama.cpp bf16", "25M", "none", llama("25M-bf16.gguf"), SMALL),
            Case("0.6B, bfloat16, llama.cpp bf16", "0.6B", "none", llama("0.6B-bf16.gguf"), LARGE),
            Case("0.6B, int8, llama.cpp Q8_0", "0.6B", "int8", llama("0.6B-q8_0.gguf"), q8),
            Case("0.6B, int4, llama.cpp Q4_0", "0.6B", "int4", llama("0.6B-q4_0.gguf"), q4),
            Case(
                f"0.6B, bfloat16, llama.cpp bf16 {' '.join(small_batches)}",
                "0.6B",
                "none",
                llama("0.6B-bf16.gguf", *small_batches),
                {"gap": 1 / 12, "long": 1.2},
            ),
        ]
    if options.vllm:
        found += [
            Case(f"{shape}, bfloat16, vLLM", shape, "none", peer_vllm(shape), aims)
            for shape, aims in (("0.6B", LARGE), ("25M", SMALL))
        ]
    return found


def load_options(load: str, few: bool) -> list[str]:
    """What `millrace bench` is told for one load."""
    prompts = ["--prompt-tokens", "16"] if few else []
    outputs = ["--output-tokens", str(8 if few else OUTPUT_TOKENS)]
    match load:
        case "one stream":
            return ["single", "--requests", "2", *prompts, *outputs]
        case "prefill":
            return ["single", "--requests", "2", "--prompt-tokens", "64" if few else "1024", "--output-tokens", "2"]
        case "16 streams":
            return ["streams", "--concurrency", "2" if few else str(STREAMS), *prompts, *outputs]
        case _:
            long = ["--long-prompt-tokens", "64"] if few else []
            return ["interference", *prompts, *long, "--output-tokens", str(512 if few else 2 * OUTPUT_TOKENS)]


def measure(case: Case, options: argparse.Namespace) -> None:
    """Both servers at once, in turn under each load; then their table."""
    print(case.name, flush=True)
    figures = {key: FIGURES[key] for key in case.aims}
    rows = []
    own = millrace(options.models / case.shape, case.quantization, STREAMS, options.threads)
    with own as ours, case.peer() as theirs:
        for load in dict.fromkeys(figure.load for figure in figures.values()):
            told = load_options(load, options.few)
            found = compare(ours, theirs, options.repeat, options.seed, told)
            rows += [row(figure, found, case.aims[key]) for key, figure in figures.items() if figure.load == load]
    print_table(["", "Millrace", "the other", "ratio", "aim", ""], rows)


def row(figure: Figure, found: Mapping[str, Any], aim: float) -> list[str]:
    """Medians of both, and the paired ratios beside what they should be."""
    [ours], [theirs] = (found["repetitions"][name].values() for name in ("A", "B"))
    [ratios] = found["ratios_a_over_b"].values()
    if figure.metric not in ratios:
        return [figure.name, "?", "?", "?", f"{aim:.2g}", "not measured"]
    ratio = ratios[figure.metric]
    reached = ratio["median"] <= aim if figure.smaller_is_better else ratio["median"] >= aim
    medians = (f"{each[figure.metric]['median'] * figure.scale:.4g}" for each in (ours, theirs))
    sign = "≤" if figure.smaller_is_better else "≥"
    return [figure.name, *medians, spread(ratio["ratios"], 3), f"{sign} {aim:.2g}", "" if reached else "missed"]


if __name__ == "__main__":
    main()
