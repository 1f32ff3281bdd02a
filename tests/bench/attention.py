"""Ways to attend over one paged cache on this CPU: what one layer's attention takes, and what it reads meanwhile.

python -m tests.bench.attention [--shape 0.6B] [--ways sdpa native]
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from tests.bench.attention_native import native
from tests.bench.attention_ways import WAYS
from tests.bench.paged_case import HEADS, Attend, Case, Heads, Prepared, exact
from tests.bench.report import print_circumstances, print_table

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Largest error over the largest expected number."""
EXPLANATION = """\
sdpa, plain, nested and flex compute attention alone (sdpa writes the new keys and values, too). native is a whole layer
with tiny matrices, between an embedding and a head of 32 tokens; its note says how much of it remains with a context of
one token. Errors are relative to float64 on the same numbers. Calls follow one another, so that keys and values of
small cases stay in the processor's caches; in a model, the other layers come between."""
ALL_WAYS = (*WAYS, "native")
SECONDS = 0.5
LEAST, MOST = 5, 200


class Wrong(AssertionError):
    """A way computes something else: its time would be worth nothing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one call, the median and the range, or the reason why there are none."""

    way: str
    case: Case
    times: tuple[float, ...] = ()
    error: float = 0.0
    note: str = ""

    def cells(self, dtype: torch.dtype) -> list[str]:
        if not self.times:
            return [self.case.name, self.way, "-", "-", "-", "-", self.note]
        micros = 1e6 * median(self.times)
        spread = f"{1e6 * min(self.times):.0f} to {1e6 * max(self.times):.0f}"
        rate = self.case.bytes_read(dtype) / median(self.times) / 1e9
        return [self.case.name, self.way, f"{micros:.0f}", spread, f"{rate:.2f}", f"{self.error:.0e}", self.note]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    logging.getLogger("torch").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    print_circumstances(
        options.seed,
        threads=options.threads,
        cache=f"{options.dtype}, blocks of 16 tokens, shuffled",
        load=f"decode: {options.rows} rows of one token; prefill: one row of {options.chunk} tokens over cached ones",
    )
    for shape in options.shape:
        heads = HEADS[shape]
        print(f"\n{shape}: {heads.num_heads} heads, {heads.num_kv_heads} key-value heads of {heads.size}, one layer")
        timings = [measure(way, case, dtype, options.seed) for case in cases(heads, options) for way in options.ways]
        head = ["", "way", "us", "lowest to highest", "K and V, GB/s", "error", ""]
        print_table(head, [timing.cells(dtype) for timing in timings])
    print(f"\n{EXPLANATION}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=HEADS, nargs="+", default=list(HEADS))
    parser.add_argument("--ways", choices=ALL_WAYS, nargs="+", default=list(ALL_WAYS))
    parser.add_argument("--rows", type=int, default=16, help="of a decode batch [16]")
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 512, 2048], metavar="N", help="of its rows")
    parser.add_argument("--chunk", type=int, default=512, help="tokens of a prefill chunk [512]")
    parser.add_argument("--cached", type=int, nargs="+", default=[0, 1024], metavar="N", help="tokens before it")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the cache [float32]")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def cases(heads: Heads, options: argparse.Namespace) -> list[Case]:
    decodes = [Case(f"decode {context}", heads, options.rows, 1, context) for context in options.contexts]
    chunks = [
        Case(f"prefill {options.chunk} over {cached}", heads, 1, options.chunk, cached + options.chunk)
        for cached in options.cached
    ]
    return decodes + chunks


def measure(way: str, case: Case, dtype: torch.dtype, seed: int) -> Timing:
    """Check a way against float64, then time it. Raises Wrong. One that does not run here says why."""
    torch.manual_seed(seed)
    torch.compiler.reset()
    began = perf_counter()
    try:
        with torch.inference_mode():
            prepared = native(case, dtype) if way == "native" else attention_alone(WAYS[way], case, dtype)
            given = prepared.run()
    except (NotImplementedError, RuntimeError) as error:
        return Timing(way, case, note=f"does not run here: {first_sentence(error)}")
    first_seconds = perf_counter() - began
    error = ((given.double() - prepared.expected).abs().max() / prepared.expected.abs().max()).item()
    if not error < TOLERANCE[dtype]:
        raise Wrong(f"{way} is off by {error:.1e} in {case.name}")
    note = f"made in {first_seconds:.0f} s, mostly compiling" if way == "flex" else ""
    with torch.inference_mode():
        times = timed(prepared.run)
        if prepared.without_context is not None:
            note = f"of which {1e6 * median(timed(prepared.without_context)):.0f} with a context of one token"
    return Timing(way, case, tuple(times), error, note)


def attention_alone(make: Callable[..., Attend], case: Case, dtype: torch.dtype) -> Prepared:
    world = case.make(dtype)
    return Prepared(make(world), exact(world))


def timed(run: Callable[[], object]) -> list[float]:
    """Seconds of each of some calls after a first one, for about half a second in all."""
    run()
    times: list[float] = []
    while len(times) < LEAST or (len(times) < MOST and sum(times) < SECONDS):
        began = perf_counter()
        run()
        times.append(perf_counter() - began)
    return times


def first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0].split(". ")[0][:100]


if __name__ == "__main__":
    main()
