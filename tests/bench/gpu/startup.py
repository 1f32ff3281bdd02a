"""A start from files to ready, in a process of its own, by phase."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from transformers.utils import logging

from tests.bench.gpu.engine import give_memory_back, random_model
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale

logging.disable_progress_bar()

MAX_SECONDS = 15.0


def measure(scale: Scale, tell: Tell) -> None:
    """The first start compiles kernels, unless that was done before; the others find them on disk."""
    with tempfile.TemporaryDirectory() as directory:
        model = random_model(scale, scale.shape("0.6B"))
        model.save_pretrained(directory)
        del model
        give_memory_back(scale)
        first = start(scale, Path(directory))
        tell(Figure("startup", "first start, to ready", (sum(first.values()),), "s"))
        later: list[dict[str, float]] = []
        for _ in range(scale.runs):
            later.append(start(scale, Path(directory)))
            totals = tuple(sum(phases.values()) for phases in later)
            tell(Figure("startup", "to ready", totals, "s", at_most=MAX_SECONDS))
            for phase in first:
                tell(Figure("startup", phase, tuple(phases[phase] for phases in later), "s"))


def start(scale: Scale, directory: Path) -> dict[str, float]:
    """Seconds by phase. Small, it is in this process, where torch is imported already."""
    if scale.smoke:
        return phases_of(directory, scale)
    script = f"from tests.bench.gpu.startup import tell_phases; tell_phases({str(directory)!r})"
    began = perf_counter()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        told = [(line, perf_counter()) for line in process.stdout or ()]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    line, ready = told[-1]  # what comes after is the end of the process
    phases: dict[str, float] = json.loads(line)
    return {"python, torch and transformers": ready - began - sum(phases.values()), **phases}


def tell_phases(directory: str) -> None:
    print(json.dumps(phases_of(Path(directory), Scale(False, Path(directory)))), flush=True)


def phases_of(directory: Path, scale: Scale) -> dict[str, float]:
    from app.engine.startup import start_engine
    from tests.bench.gpu.engine import settings

    config = settings(scale, model_path=str(directory), max_num_seqs=256 if not scale.smoke else 4)
    return start_engine(config, lambda _: None)[1].phases
