"""How long the device waits for the host: the share of a step in which it computes nothing."""

from __future__ import annotations

from statistics import median

from tests.bench.gpu.engine import Engine, give_memory_back, step_times
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.parts import covered, kernels_of
from tests.bench.gpu.scale import Scale

NUCLEI = {"small nuclei": {"temperature": 0.01, "top_p": 0.9}, "large nuclei": {"temperature": 1.0, "top_p": 0.9}}
"""Random weights make all tokens about equally likely unless they are told apart."""


def measure(scale: Scale, tell: Tell) -> None:
    """Busy time comes from the profiler, a step's time from steps without it, which slows the host."""
    for overlap, how in scale.few({"on": "overlapping", "off": "one after the other"}.items()):
        cases: dict[str, tuple[int, dict[str, float]]] = {f"{batch} at once": (batch, {}) for batch in (64, 1, 256)}
        if overlap == "on":
            cases |= {f"64 at once from {what}": (64, params) for what, params in NUCLEI.items()}
        names = {f"0.6B, {case}, steps {how}": setting for case, setting in scale.few(cases.items())}
        left = {name: setting for name, setting in names.items() if tell.known(name, scale.runs) is None}
        if not left:
            continue
        limits = {"max_num_seqs": scale.of(256, 4), "max_num_batched_tokens": scale.of(8192, 16)}
        engine = Engine.of(scale, scale.shape("0.6B"), overlap=overlap, **limits)
        for name, (batch, params) in left.items():
            shares, note = shares_of(scale, engine, scale.of(batch, 2), params)
            aim = 0.03 if overlap == "on" and batch == 64 else None
            tell(Figure("waiting", name, shares, "of time", at_most=aim, note=note))
        del engine
        give_memory_back(scale)


def shares_of(scale: Scale, engine: Engine, num_seqs: int, params: dict[str, float]) -> tuple[tuple[float, ...], str]:
    """In each run, and the times behind them in words."""
    num_steps = scale.of(32, 2)
    with engine.decoding(num_seqs, scale.of(512, 12), num_steps * (scale.runs + 1), **params) as core:
        times = step_times(core, num_steps, scale.runs)
        busy = covered(span for _, span in kernels_of(scale, core, num_steps)) / 1e6 / num_steps
    note = f"{1e3 * busy:.3g} of {1e3 * median(times):.3g} ms busy"
    return tuple(max(0.0, 1 - busy / time) for time in times), note
