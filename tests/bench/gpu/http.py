"""256 streams over HTTP beside the same load through the engine alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.bench.gpu.engine import Engine, give_memory_back
from tests.bench.gpu.figures import Figure, Skipped, Tell
from tests.bench.gpu.scale import Scale

SHARE = 0.9
NEEDED = ("fastapi", "uvicorn", "sse_starlette", "pydantic_settings", "httptools")


def measure(scale: Scale, tell: Tell) -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Skipped(f"{', '.join(missing)} not installed")
    num_streams, num_tokens = scale.of(256, 2), scale.of(512, 8)
    limits = {"max_num_seqs": num_streams, "max_num_batched_tokens": scale.of(8192, 64)}
    what = f"engine alone, {num_streams} at once"
    before = tell.known(what, scale.runs)
    alone = before.values if before else engine_rates(scale, num_streams, num_tokens, limits)
    tell(Figure("http", what, alone, "tokens/s"))
    served = served_rates(scale, num_streams, num_tokens, limits)
    tell(Figure("http", f"over HTTP, {num_streams} streams", served, "tokens/s"))
    shares = tuple(rate / median(alone) for rate in served)
    tell(Figure("http", "share of the engine's own", shares, "", at_least=SHARE))


def engine_rates(scale: Scale, num_streams: int, num_tokens: int, limits: dict[str, int]) -> tuple[float, ...]:
    """Tokens per second of the engine alone, with prompts and outputs of `num_tokens`. The first run does not count."""
    engine = Engine.of(scale, scale.shape("0.6B"), **limits)
    rates = []
    for _ in range(scale.runs + 1):
        for _ in range(num_streams):
            engine.add(num_tokens, max_tokens=num_tokens)
        began = perf_counter()
        engine.run()
        rates.append(num_streams * num_tokens / (perf_counter() - began))
    del engine
    give_memory_back(scale)
    return tuple(rates[1:])


def served_rates(scale: Scale, num_streams: int, num_tokens: int, limits: dict[str, int]) -> tuple[float, ...]:
    """The same over HTTP, measured by `millrace bench` against a server that it starts."""
    from tests.bench.random_model import save_model

    with tempfile.TemporaryDirectory() as directory:
        save_model(Path(directory) / "model", scale.shape("0.6B"), 0, scale.dtype)
        options = {**limits, "backend": scale.backend, "max_gap_seconds": 10}
        typed = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
        report = Path(directory) / "report.json"
        lengths = ["--prompt-tokens", str(num_tokens), "--output-tokens", str(num_tokens)]
        load = ["--concurrency", str(num_streams), *lengths, "--repeat", str(scale.runs), "--json", str(report)]
        served = ["--serve", str(Path(directory) / "model"), "--server-options", typed]
        subprocess.run([sys.executable, "-m", "app", "bench", "streams", *served, *load, "--quiet"], check=True)
        measured = json.loads(report.read_text())["measurements"]
        return tuple(stage["output_throughput"] for one in measured for stage in one["stages"])
