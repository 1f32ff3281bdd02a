"""Runs the benchmark of the engine, from its options to the report: starts the engine, probes the machine, measures."""

from __future__ import annotations

import json
import math
import secrets
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from app.bench.ceilings import device_name, probe
from app.bench.engine.engine import Engine
from app.bench.engine.measure import Costs, Decode, Prefill
from app.bench.engine.report import document, report
from app.bench.engine.result import EngineResult
from app.bench.engine.settings import EngineBenchSettings, Load, Room
from app.bench.outcome import BenchError
from app.bench.progress import Progress
from app.bench.provenance import Provenance
from app.bench.session import SEED_BITS
from app.engine.failures import reason_of
from app.engine.startup import start_engine
from app.messages import EngineReady
from app.model.cost import cost_of
from app.model.executors import executor_named
from app.model.loading.configuration import dtype_named, inspect_model
from app.model.loading.hub import find_model

if TYPE_CHECKING:
    from app.config import Config

PREFILLS = 5


def run_engine_bench(options: Mapping[str, Any], config: Config, importing_seconds: float) -> int:
    """Returns the exit code: 2 for invalid options, 1 if the model cannot be served or measured, else 0."""
    try:
        settings = settings_of(options)
        if config.speculative != "off":
            raise BenchError(
                f"--speculative {config.speculative}: decode steps of one token a sequence are measured, and random "
                "prompts give nothing to draft from; use --speculative off"
            )
    except BenchError as error:
        print(f"millrace bench: {error}", file=sys.stderr)
        return 2
    try:
        result = measure(settings, config, Progress(False if options["quiet"] else None), importing_seconds)
        print(report(result))
        if options["json"]:
            options["json"].write_text(json.dumps(result.as_json()) + "\n")
        if options["html"]:
            options["html"].write_text(document(result))
    except (BenchError, OSError) as error:
        print(f"millrace bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("millrace bench: interrupted; nothing is reported", file=sys.stderr)
        return 130
    return 0


def settings_of(options: Mapping[str, Any]) -> EngineBenchSettings:
    """The settings given by the options, with defaults for the others. Raises BenchError."""
    given = {
        field.name: options[field.name] for field in fields(EngineBenchSettings) if options[field.name] is not None
    }
    settings = EngineBenchSettings(**({"seed": secrets.randbits(SEED_BITS)} | given))
    settings.check()
    return settings


def measure(
    settings: EngineBenchSettings, config: Config, progress: Progress, importing_seconds: float
) -> EngineResult:
    """Run all measurements. Raises BenchError if the engine cannot be started, or loads do not fit it.

    The prefill throttle is off: prompts are computed as fast as the budget allows, since nobody waits for the sequences
    that decode meanwhile.
    """
    provenance = Provenance.now(own_server=True)
    unpaced = config.model_copy(update={"max_gap_seconds": math.inf})
    try:
        core, ready = start_engine(unpaced, lambda loading: progress.note(loading.phase))
    except Exception as error:  # any error at all means that nothing can be measured, and is reported
        raise BenchError(reason_of(error)) from error
    room = Room(ready, config.max_num_seqs, config.max_num_batched_tokens)
    room.check(settings)
    progress.note("probing the machine")
    costs = _costs(config, ready)
    engine = Engine(core, ready.vocab_size, settings.seed, settings.temperature)
    decodes = _decode(engine, settings.decodes, costs, progress)
    prefill = _prefill(engine, room.prefill(settings), costs, progress)
    batches, contexts, left_out = room.sweep(settings) if settings.sweep else ([], [], [])
    return EngineResult(
        model=config.model_name,
        config=config.engine_settings,
        settings=settings,
        provenance=provenance,
        device=device_name(ready.device),
        ready=ready,
        phases={"importing torch": importing_seconds, **ready.phases},
        costs=costs,
        decodes=decodes,
        prefill=prefill,
        by_batch=_decode(engine, batches, costs, progress),
        by_context=_decode(engine, contexts, costs, progress),
        left_out=left_out,
    )


def _costs(config: Config, ready: EngineReady) -> Costs:
    """The costs of the weights and the cache as they are stored. int4 weights are multiplied by int8 activations."""
    dtype, quantized = dtype_named(ready.dtype), ready.quantization != "none"
    stored = executor_named(ready.backend).stored(dtype, ready.quantization)
    model = cost_of(inspect_model(find_model(config.model_path, config.revision)).config, stored)
    return Costs(
        model=model,
        cache_bytes=ready.kv_cache_bytes / (ready.num_cache_tokens * model.cache_elements([1])),
        ceilings=probe(ready.device, ready.num_threads),
        factors="int8" if quantized else ready.dtype,
    )


def _decode(engine: Engine, loads: list[Load], costs: Costs, progress: Progress) -> list[Decode]:
    measured = []
    for load in loads:
        title = f"{load.num_streams} x {load.prompt_tokens} tokens"
        with progress.count(title, load.num_steps, "step") as advance:
            measured.append(Decode.of(load, engine.decode(load, advance), costs))
    return measured


def _prefill(engine: Engine, num_tokens: int, costs: Costs, progress: Progress) -> Prefill:
    runs = []
    with progress.count(f"prefill of {num_tokens} tokens", PREFILLS, "prompt") as advance:
        for _ in range(PREFILLS):
            runs.append(engine.prefill(num_tokens))
            advance(1)
    return Prefill.of(num_tokens, runs, costs)
