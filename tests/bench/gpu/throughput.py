"""The common workload through the engine, beside transformers' continuous batching and `generate`: the same weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager

from app.messages import Generate, SamplingParams
from tests.bench.gpu.engine import Engine, give_memory_back, random_model
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale
from tests.bench.shapes import Shape

RATIO = 4.0
SECONDS = 60.0
"""For all runs of each way; the first is never left out."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts, and how many tokens each is given; end tokens are ignored."""

    prompts: list[list[int]]
    num_outputs: list[int]

    @classmethod
    def of(cls, scale: Scale, vocab_size: int) -> Workload:
        """256 requests, lengths uniform from 100 to 1024."""
        choice = random.Random(0)
        count, shortest, longest = scale.of(256, 4), scale.of(100, 3), scale.of(1024, 9)
        lengths = [(choice.randint(shortest, longest), choice.randint(shortest, longest)) for _ in range(count)]
        return cls([choice.choices(range(vocab_size), k=prompt) for prompt, _ in lengths], [out for _, out in lengths])

    @property
    def total(self) -> int:
        return sum(self.num_outputs)


def measure(scale: Scale, tell: Tell) -> None:
    """All requests are there at once."""
    shape = scale.shape("0.6B")
    load = Workload.of(scale, shape.vocab_size)
    ours = engine_rates(scale, shape, load)
    tell(Figure("throughput", "engine", ours, "tokens/s"))
    give_memory_back(scale)
    model = random_model(scale, shape, "sdpa")
    theirs = continuous_batching_rates(scale, model, load)
    tell(Figure("throughput", "transformers' continuous batching", theirs, "tokens/s"))
    ratios = tuple(a / b for a, b in zip(ours, theirs, strict=False))
    tell(Figure("throughput", "engine over continuous batching", ratios, "times", at_least=RATIO))
    give_memory_back(scale)
    whole = rates(scale, load, lambda: generate(model, load))
    tell(Figure("throughput", "transformers' generate, all in one batch", whole, "tokens/s"))


def engine_rates(scale: Scale, shape: Shape, load: Workload) -> tuple[float, ...]:
    engine = Engine.of(scale, shape, max_num_seqs=scale.of(256, 4), max_num_batched_tokens=scale.of(8192, 16))
    return rates(scale, load, lambda: through_engine(engine, load))


def rates(scale: Scale, load: Workload, run: Callable[[], None]) -> tuple[float, ...]:
    """Output tokens per second of each run, after one that warms up."""
    taken: list[float] = []
    while len(taken) < scale.runs + 1 and (len(taken) < 2 or sum(taken) < SECONDS):
        began = perf_counter()
        run()
        scale.synchronize()
        taken.append(perf_counter() - began)
    return tuple(load.total / seconds for seconds in taken[1:])


def through_engine(engine: Engine, load: Workload) -> None:
    core = engine.core
    for seq_id, (prompt, count) in enumerate(zip(load.prompts, load.num_outputs, strict=True)):
        core.apply(Generate(seq_id, prompt, SamplingParams(count, temperature=0.0), cache_salt=str(perf_counter())))
    num_tokens = 0
    while core.has_work:
        num_tokens += len(core.step().token_ids)
    assert num_tokens == load.total, f"{num_tokens} instead of {load.total} tokens"


def continuous_batching_rates(scale: Scale, model: PreTrainedModel, load: Workload) -> tuple[float, ...]:
    """With its own choices but one: the same prompts come again and again, and must not be found in its cache."""
    settings = GenerationConfig(max_new_tokens=max(load.num_outputs), do_sample=False, eos_token_id=-1, pad_token_id=0)
    # On a CPU it would take most of the memory.
    small = {"num_blocks": 16, "block_size": 16, "max_batch_tokens": 32} if scale.smoke else {}
    choices = ContinuousBatchingConfig(allow_block_sharing=False, **small)
    with model.continuous_batching_context_manager(
        generation_config=settings, continuous_batching_config=choices, block=True, timeout=60
    ) as manager:
        return rates(scale, load, lambda: through_manager(manager, load))


def through_manager(manager: ContinuousBatchingManager, load: Workload) -> None:
    for prompt, count in zip(load.prompts, load.num_outputs, strict=True):
        manager.add_request(prompt, max_new_tokens=count)
    num_tokens = 0
    for _ in load.prompts:
        result = manager.get_result(timeout=300)
        assert result is not None, "transformers' continuous batching gave no result"
        assert result.error is None, result.error
        num_tokens += len(result.generated_tokens)
    assert num_tokens == load.total, f"{num_tokens} instead of {load.total} tokens"


def generate(model: PreTrainedModel, load: Workload) -> None:
    """Everybody waits for the longest; only what was asked for counts."""
    width = max(map(len, load.prompts))
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in load.prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in load.prompts])
    longest = max(load.num_outputs)
    model.generate(
        padded.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=longest,
        min_new_tokens=longest,
        do_sample=False,
    )
