"""`millrace bench`: its options. What it does stands elsewhere and is imported when it is needed."""

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
    "streams": "N streams at once (--concurrency; several, as 1,4,16, give a sweep)",
    "poisson": "arrivals at a rate (--rate; several, as 1,2,4, give a sweep)",
    "ramp": "raise the rate from --rate until goodput falls, and name the knee",
    "interference": "streams decode, a long prompt arrives: the longest gap it causes",
    "prefix": "prompts that share a long prefix: TTFT of the first and of those after it",
    "trace": "arrival times and lengths from a file (--trace)",
}


SHARED = {"model", "prompt_tokens", "output_tokens", "temperature", "seed", "json", "html", "quiet"}
"""Options that mean something with --engine and without it."""

ENGINE_ONLY = ("streams", "prefill", "sweep")


def add_bench_parser(commands: argparse._SubParsersAction[Any]) -> argparse._ArgumentGroup:
    """Add `bench` to the commands of `millrace`. Returns the group of options that --engine takes."""
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
    """What is wrong if an option was given that the chosen kind of benchmark does not heed."""
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
    group.add_argument("--url", help="address of a server that runs already")
    group.add_argument("--serve", metavar="MODEL", help="start our own server on this model, and end it [demo]")
    group.add_argument("--server-options", metavar="TEXT", default="", help='more for it: "--max-num-seqs 128"')
    group.add_argument("--compare", metavar="URL", help="a second server, B: both take turns, A B A B")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="the name in requests [the only one that the server has]; with --engine the model itself [demo]",
    )
    group.add_argument("--compare-model", metavar="NAME", help="the same for the second server")
    group.add_argument("--header", action="append", metavar="NAME:VALUE", default=[], help="to send; never reported")
    group.add_argument("--chat", action="store_true", help="use /v1/chat/completions even if there is the other")
    group.add_argument("--timeout", type=positive, default=600.0, metavar="S", help="seconds for a request [600]")


def _add_load_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--concurrency", type=counts, metavar="N[,N]", help="streams at once [8; interference: 4]")
    group.add_argument("--rate", type=rates, default=(1.0,), metavar="R[,R]", help="requests/s to arrive [1]")
    group.add_argument("--duration", type=positive, metavar="S", help="seconds of arrivals [poisson: 30, ramp: 10]")
    group.add_argument(
        "--requests", type=count, metavar="N", help="in a stage [single: 5; streams: one each, at least 4]"
    )
    group.add_argument("--ramp-factor", type=positive, default=1.5, metavar="F", help="from stage to stage [1.5]")
    group.add_argument("--stages", type=count, default=12, metavar="N", help="of a ramp at most [12]")
    group.add_argument("--prompt-tokens", type=count, metavar="N", help="per prompt [128; prefix: 16]")
    group.add_argument(
        "--output-tokens", type=count, metavar="N", help="per output [128; interference: 256, prefix: 16]"
    )
    group.add_argument("--long-prompt-tokens", type=count, metavar="N", help="that interferes [1024, or what fits]")
    group.add_argument("--prefix-tokens", type=count, metavar="N", help="that prompts share [1000, or what fits]")
    group.add_argument("--prefixes", type=count, default=4, metavar="N", help="different ones, 4 requests each [4]")
    group.add_argument("--trace", type=Path, metavar="FILE", help="TIMESTAMP,ContextTokens,GeneratedTokens")
    group.add_argument("--speedup", type=positive, default=1.0, metavar="F", help="of the trace's arrivals [1]")
    group.add_argument("--limit", type=count, metavar="N", help="only the first lines of the trace")
    group.add_argument("--temperature", type=float, default=0.0, metavar="T", help="of sampling [0]")
    group.add_argument("--token-ids", type=id_range, metavar="LOW:HIGH", help="draw prompts from these ids [found out]")
    group.add_argument("--seed", type=int, metavar="N", help="of prompts and arrivals [drawn, and reported]")


def _add_engine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", action="store_true", help="measure the engine in this process, without HTTP")
    group.add_argument("--streams", type=counts, metavar="N[,N]", help="sequences that decode at once [1,4,16]")
    group.add_argument("--prefill", type=count, metavar="N", help="prompt whose prefill is timed [1024, or what fits]")
    group.add_argument("--sweep", action="store_true", help="step time against batch size and against context, too")


def _add_report_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--slo",
        metavar="LIMITS",
        help="for goodput, in ms: ttft:500,itl:50; also tpot, e2e and gap. itl is the p99 of a request's own gaps, "
        "gap the longest [ramp: ttft:1000,itl:200]",
    )
    group.add_argument("--warmup", type=int, default=1, metavar="N", help="requests before, not counted [1]")
    group.add_argument("--repeat", type=count, metavar="K", help="do all of it K times [1; with --compare 3]")
    group.add_argument("--probe-host", action="store_true", help="measure this machine's speed before each run (2 s)")
    group.add_argument("--json", type=Path, metavar="FILE", help="write everything, each request included")
    group.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def count(text: str) -> int:
    """A whole number above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers above 0, with commas between them."""
    return tuple(dict.fromkeys(count(part) for part in text.split(",")))


def rates(text: str) -> tuple[float, ...]:
    """Numbers above 0, with commas between them."""
    return tuple(dict.fromkeys(positive(part) for part in text.split(",")))


def id_range(text: str) -> tuple[int, int]:
    """LOW:HIGH, without HIGH itself."""
    low, _, high = text.partition(":")
    if not 0 <= int(low) < int(high):
        raise argparse.ArgumentTypeError(f"{text} is not a range like 100:1000")
    return int(low), int(high)
