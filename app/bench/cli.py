"""The options of `millrace bench`. The benchmarks themselves are imported only when they run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.config import Config

DESCRIPTION = """\
Measure a server with OpenAI's API under load.

  millrace bench                                             one stream on the embedded model
  millrace bench streams --concurrency 1,4,16 --html out.html
  millrace bench poisson --rate 4 --duration 60 --slo ttft:500,itl:50 --url http://127.0.0.1:8000
  millrace bench ramp --serve ./my-model --json out.json
  millrace bench interference --url http://127.0.0.1:8000 --compare http://127.0.0.1:8001 --repeat 3
  millrace bench trace --trace trace.csv --speedup 10 --limit 200
  millrace bench --engine --model ./my-model --streams 1,16 --sweep --html out.html

With --engine it measures the engine alone, in this process and without HTTP, beside what the machine can do.

Workloads:
"""

WORKLOADS = {
    "single": "one stream at a time: decode rate and prefill rate",
    "streams": "N streams at once (--concurrency; several, like 1,4,16, give a sweep)",
    "poisson": "arrivals at a rate (--rate; several, like 1,2,4, give a sweep)",
    "ramp": "raise the rate from --rate until goodput falls, and name the knee",
    "interference": "streams decode, a long prompt arrives: the longest gap it causes",
    "prefix": "prompts that share a long prefix: TTFT of the first and of those after it",
    "trace": "arrival times and lengths from a file (--trace)",
}


SHARED = {"model", "prompt_tokens", "output_tokens", "temperature", "seed", "json", "html", "quiet"}
"""Options that apply both with and without --engine."""

ENGINE_ONLY = ("streams", "prefill", "sweep")


def add_bench_parser(commands: argparse._SubParsersAction[Any]) -> argparse._ArgumentGroup:
    """Add `bench` to the commands of `millrace`. Returns the group of options that belong to --engine."""
    workloads = "\n".join(f"  {name:14}{text}" for name, text in WORKLOADS.items())
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="measure a server under load",
        description=DESCRIPTION + workloads,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "workload", nargs="?", choices=WORKLOADS, default="single", metavar="WORKLOAD", help="see above [single]"
    )
    _add_server_options(parser.add_argument_group("the server"))
    _add_load_options(parser.add_argument_group("the load"))
    _add_report_options(parser.add_argument_group("the report"))
    engine_group = parser.add_argument_group("the engine alone")
    _add_engine_options(engine_group)
    return engine_group


def misplaced(options: Mapping[str, Any], defaults: Mapping[str, Any], engine_settings: Iterable[str]) -> str | None:
    """An error message if an option was given that the chosen kind of benchmark ignores, else None."""
    engine_only = {*ENGINE_ONLY, *engine_settings}
    given = {name for name in options if name != "engine" and options[name] != defaults[name]}
    if options["engine"]:
        wrong, advice = given - engine_only - SHARED, "does not go with --engine, which needs no server"
    else:
        wrong, advice = given & engine_only, "goes with --engine only; a server takes it in --server-options"
    names = ", ".join("the workload" if name == "workload" else "--" + name.replace("_", "-") for name in sorted(wrong))
    return f"{names} {advice}" if wrong else None


def bench_engine(options: dict[str, Any], config: Config) -> int:
    """Run the benchmark of the engine alone. Returns the exit code."""
    from app.engine.process import let_idle_threads_sleep

    let_idle_threads_sleep()
    began = perf_counter()
    from app.bench.engine.session import run_engine_bench

    return run_engine_bench(options, config, importing_seconds=perf_counter() - began)


def bench(options: dict[str, Any]) -> int:
    """Run the benchmark of these options. Returns the exit code: 0 if any request succeeded."""
    from app.bench.session import run_bench

    return run_bench(options)


def _add_server_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--url", help="address of a running server")
    group.add_argument(
        "--serve", metavar="MODEL", help="start a Millrace server on this model for the benchmark [demo]"
    )
    group.add_argument("--server-options", metavar="TEXT", default="", help='its options, like "--max-num-seqs 128"')
    group.add_argument("--compare", metavar="URL", help="a second server, B; the two take turns, A B A B")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="the name in requests [the only one that the server has]; with --engine the model itself [demo]",
    )
    group.add_argument("--compare-model", metavar="NAME", help="the same for the second server")
    group.add_argument(
        "--header", action="append", metavar="NAME:VALUE", default=[], help="a header to send; never reported"
    )
    group.add_argument(
        "--chat", action="store_true", help="use /v1/chat/completions even if the server has /v1/completions"
    )
    group.add_argument(
        "--timeout", type=positive, default=600.0, metavar="S", help="time limit of a request in seconds [600]"
    )


def _add_load_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--concurrency", type=counts, metavar="N[,N]", help="streams at once [8; interference: 4]")
    group.add_argument("--rate", type=rates, default=(1.0,), metavar="R[,R]", help="arrivals per second [1]")
    group.add_argument("--duration", type=positive, metavar="S", help="seconds of arrivals [poisson: 30, ramp: 10]")
    group.add_argument(
        "--requests", type=count, metavar="N", help="requests in a stage [single: 5; streams: one each, at least 4]"
    )
    group.add_argument("--ramp-factor", type=positive, default=1.5, metavar="F", help="rate increase per stage [1.5]")
    group.add_argument("--stages", type=count, default=12, metavar="N", help="most stages of a ramp [12]")
    group.add_argument("--prompt-tokens", type=count, metavar="N", help="per prompt [128; prefix: 16]")
    group.add_argument(
        "--output-tokens", type=count, metavar="N", help="per output [128; interference: 256, prefix: 16]"
    )
    group.add_argument(
        "--long-prompt-tokens", type=count, metavar="N", help="of the prompt that interferes [1024, or what fits]"
    )
    group.add_argument("--prefix-tokens", type=count, metavar="N", help="of the shared prefix [1000, or what fits]")
    group.add_argument("--prefixes", type=count, default=4, metavar="N", help="number of prefixes, 4 requests each [4]")
    group.add_argument("--trace", type=Path, metavar="FILE", help="TIMESTAMP,ContextTokens,GeneratedTokens")
    group.add_argument(
        "--speedup", type=positive, default=1.0, metavar="F", help="replay the trace F times as fast [1]"
    )
    group.add_argument("--limit", type=count, metavar="N", help="only the first lines of the trace")
    group.add_argument("--temperature", type=float, default=0.0, metavar="T", help="of sampling [0]")
    group.add_argument("--token-ids", type=id_range, metavar="LOW:HIGH", help="draw prompts from these ids [probed]")
    group.add_argument("--seed", type=int, metavar="N", help="seed of prompts and arrivals [random, and reported]")


def _add_engine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", action="store_true", help="measure the engine in this process, without HTTP")
    group.add_argument("--streams", type=counts, metavar="N[,N]", help="sequences that decode at once [1,4,16]")
    group.add_argument("--prefill", type=count, metavar="N", help="length of the prompt to time [1024, or what fits]")
    group.add_argument("--sweep", action="store_true", help="also measure step time against batch size and context")


def _add_report_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--slo",
        metavar="LIMITS",
        help="for goodput, in ms: ttft:500,itl:50; also tpot, e2e and gap. itl is the p99 of a request's own gaps, "
        "gap the longest [ramp: ttft:1000,itl:200]",
    )
    group.add_argument("--warmup", type=int, default=1, metavar="N", help="requests before measuring, not counted [1]")
    group.add_argument("--repeat", type=count, metavar="K", help="repeat the benchmark K times [1; with --compare 3]")
    group.add_argument("--probe-host", action="store_true", help="measure this machine's speed before each run (2 s)")
    group.add_argument("--json", type=Path, metavar="FILE", help="write all results, including each request")
    group.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def count(text: str) -> int:
    """Parse an integer above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive(text: str) -> float:
    """Parse a number above 0."""
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def counts(text: str) -> tuple[int, ...]:
    """Parse comma-separated integers above 0."""
    return tuple(dict.fromkeys(count(part) for part in text.split(",")))


def rates(text: str) -> tuple[float, ...]:
    """Parse comma-separated numbers above 0."""
    return tuple(dict.fromkeys(positive(part) for part in text.split(",")))


def id_range(text: str) -> tuple[int, int]:
    """Parse LOW:HIGH, a range of token ids without HIGH itself."""
    low, _, high = text.partition(":")
    if not 0 <= int(low) < int(high):
        raise argparse.ArgumentTypeError(f"{text} is not a range like 100:1000")
    return int(low), int(high)
