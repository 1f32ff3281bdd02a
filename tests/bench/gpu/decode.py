"""Decode steps through the engine: bytes read per second beside a copy's (the roofline: Williams et al. 2009)."""

from __future__ import annotations

from dataclasses import asdict

from app.engine.core import EngineCore
from app.model.cost import ModelCost, cost_of, stored_plainly
from tests.bench.gpu.engine import Engine, give_memory_back, step_times
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.parts import tell_parts
from tests.bench.gpu.scale import Scale, peaks
from tests.bench.shapes import Shape

AIMS: dict[str, dict[tuple[int, int], tuple[float | None, float | None]]] = {
    "0.6B": {(1, 1024): (None, 0.7), (8, 1024): (None, None), (64, 1024): (None, None), (256, 32): (None, 2.0)}
    | {(256, 128): (None, None)},
    "8B": {(1, 1024): (0.8, None), (64, 1024): (0.75, None)},
}
"""By shape, then by batch and context: the least share of the copy bandwidth, and the most milliseconds."""


def measure(scale: Scale, tell: Tell) -> None:
    most = peaks(scale).bytes_per_second
    for name in scale.few(AIMS):
        if all(tell.known(f"{what_of(name, *asked)}: TPOT", scale.runs) for asked in scale.few(AIMS[name])):
            continue
        measure_shape(scale, tell, name, most)
        give_memory_back(scale)


def measure_shape(scale: Scale, tell: Tell, name: str, bytes_per_second: float) -> None:
    shape = scale.shape(name)
    engine = Engine.of(scale, shape, max_num_seqs=scale.of(256, 4), max_num_batched_tokens=scale.of(8192, 16))
    cost = model_cost(scale, shape)
    for (batch, context), (share, milliseconds) in scale.few(AIMS[name].items()):
        num_seqs, num_steps = scale.of(batch, 2), scale.of(16, 2)
        what = what_of(name, batch, context)
        with engine.decoding(num_seqs, scale.of(context, 12), num_steps * (scale.runs + 1)) as core:
            before = contexts(core)
            times = step_times(core, num_steps, scale.runs)
            lengths = [(first + last) // 2 for first, last in zip(before, contexts(core), strict=True)]
            busy = tell_parts(scale, tell, what, core, num_steps)
        read = cost.weight_bytes(num_seqs) + cost.cache_elements(lengths) * scale.dtype.itemsize
        shares = tuple(read / time / bytes_per_second for time in times)
        tell(Figure("decode", f"{what}: bandwidth", shares, "of copy", at_least=share))
        note = f"{sum(lengths) / num_seqs:,.0f} tokens of context in the mean; device busy {1e3 * busy:.3g} ms"
        tell(Figure("decode", f"{what}: TPOT", tuple(1e3 * t for t in times), "ms", at_most=milliseconds, note=note))


def model_cost(scale: Scale, shape: Shape) -> ModelCost:
    return cost_of(shape.architecture(**asdict(shape)), stored_plainly(scale.dtype))


def what_of(name: str, batch: int, context: int) -> str:
    return f"{name}, {batch} x {context:,}"


def contexts(core: EngineCore) -> list[int]:
    return [sequence.num_tokens for sequence in core.scheduler.running]
