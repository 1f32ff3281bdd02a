"""Engines of random weights, made on the device."""

from __future__ import annotations

import gc
import math
import random
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from app.engine.core import EngineCore
from app.engine.phases import Phases
from app.engine.startup import make_engine
from app.messages import Abort, Generate, SamplingParams, StepOutput
from app.model import attention
from app.model.executors import select_executor
from app.model.loading.configuration import ModelFacts
from app.model.loading.tracing import trace_layers
from tests.bench.gpu.scale import Scale
from tests.bench.shapes import Shape

DEFAULTS = Path(__file__).parents[3] / "config" / "default.toml"


def settings(scale: Scale, **changes: Any) -> Any:
    """The engine's settings as they are by default, for measuring. Their names are those of `app.settings`.

    Prompts are computed as fast as the budget allows.
    """
    defaults = tomllib.loads(DEFAULTS.read_text()) | dict.fromkeys(("threads", "max_model_len"))
    measuring = {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "device": scale.device.type,
        "dtype": str(scale.dtype).removeprefix("torch."),
        "backend": scale.backend,
        "revision": None,
        "max_gap_seconds": math.inf,
        "kv_cache_memory": 8 << 20 if scale.smoke else None,
    }
    return SimpleNamespace(**defaults | measuring | changes)


def random_model(scale: Scale, shape: Shape, attention_name: str = attention.NAME) -> PreTrainedModel:
    attention.register()
    torch.manual_seed(0)
    config = shape.architecture(**asdict(shape), bos_token_id=None, eos_token_id=None, pad_token_id=0)
    with scale.device:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=scale.dtype, attn_implementation=attention_name
        )
    return model.to(scale.device).eval().requires_grad_(False)


@dataclass(slots=True)
class Engine:
    """Feeds a core with random prompts, greedily unless told otherwise."""

    core: EngineCore
    vocab_size: int
    num_cache_tokens: int
    _ids: Any

    @classmethod
    def of(cls, scale: Scale, shape: Shape, **changes: Any) -> Engine:
        model = random_model(scale, shape)
        facts = ModelFacts(model.config, trace_layers(model.config), shape.max_position_embeddings)
        config = settings(scale, **changes)
        options = (config.backend, config.dtype, config.quantization, config.block_size)
        selection = select_executor(facts, scale.device, *options)
        core, ready = make_engine(config, selection, model, Phases(lambda _: None))
        return cls(core, ready.vocab_size, ready.num_cache_tokens, count(1))

    def add(self, num_prompt_tokens: int, **params: Any) -> int:
        """A sequence with a prompt of its own. Returns its id."""
        seq_id = next(self._ids)
        prompt = random.Random(seq_id).choices(range(self.vocab_size), k=num_prompt_tokens)
        self.core.apply(Generate(seq_id, prompt, SamplingParams(**{"temperature": 0.0, **params})))
        return seq_id

    def steps(self) -> Iterator[StepOutput]:
        """Until all is done."""
        while self.core.has_work:
            yield self.core.step()

    def run(self) -> None:
        for _ in self.steps():
            pass

    @contextmanager
    def decoding(self, num_seqs: int, context: int, num_steps: int, **params: Any) -> Iterator[EngineCore]:
        """A core whose next steps, at least so many, decode a token of each of so many sequences."""
        seq_ids = [self.add(context, max_tokens=num_steps + num_seqs + 9, **params) for _ in range(num_seqs)]
        while True:
            stats = self.core.step().stats
            if stats.num_decode_tokens == num_seqs and not stats.num_prefill_tokens:
                break
        yield self.core
        self.core.apply(Abort(tuple(seq_ids)))
        self.run()


def step_times(core: EngineCore, num_steps: int, runs: int) -> tuple[float, ...]:
    """Mean seconds of a step, over `num_steps` in each run."""
    times = []
    for _ in range(runs):
        began = perf_counter()
        for _ in range(num_steps):
            core.step()
        times.append((perf_counter() - began) / num_steps)
    return tuple(times)


def give_memory_back(scale: Scale) -> None:
    """What engines that are gone had."""
    gc.unfreeze()
    gc.collect()
    if scale.device.type == "cuda":
        torch.cuda.empty_cache()
