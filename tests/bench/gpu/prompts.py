"""Long prompts through the engine, whole and in pieces, beside what the matrix units do."""

from __future__ import annotations

from time import perf_counter

from tests.bench.gpu.decode import model_cost
from tests.bench.gpu.engine import Engine, give_memory_back
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale, peaks

LENGTH = 8192


def measure(scale: Scale, tell: Tell) -> None:
    """Whole, attention is torch's own; in pieces, all but the first find keys in the cache, and it is our kernel's."""
    most = peaks(scale).operations_per_second
    length = scale.of(LENGTH, 16)
    for name in scale.few(("0.6B", "8B")):
        operations = model_cost(scale, scale.shape(name)).operations(range(1, length + 1), 1)
        for pieces, how in ((1, "whole"), (4, "in 4 pieces")):
            what = f"{name}, {length:,} tokens {how}"
            if tell.known(what, scale.runs) is None:
                times = prompt_times(scale, name, length, length // pieces)
                note = f"{length / min(times):,.0f} tokens/s at best"
                shares = tuple(operations / time / most for time in times)
                tell(Figure("prompts", what, shares, "of product", note=note))


def prompt_times(scale: Scale, name: str, length: int, budget: int) -> list[float]:
    """Seconds from a prompt to its first token, in steps of `budget` tokens.

    Each prompt is one token shorter than the last, since a library may prepare itself for every length anew.
    """
    engine = Engine.of(scale, scale.shape(name), max_num_seqs=1, max_num_batched_tokens=budget)
    times = []
    for run in range(scale.runs + 1):
        engine.add(length - run, max_tokens=1)
        began = perf_counter()
        engine.run()
        times.append(perf_counter() - began)
    del engine
    give_memory_back(scale)
    return times[1:]
