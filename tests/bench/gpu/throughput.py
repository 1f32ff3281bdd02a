"""The common workload through the engine, beside transformers' continuous batching and `generate`: the same weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager

from app.messages import Generate, SamplingParams
from tests.bench.gpu.engine import Engine, give_memory_back, random_model
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale

RATIO = 4.0
SECONDS = 40.0
"""For all runs of each way; the first is never left out, but cut off."""
OURS, THEIRS = "engine", "transformers' continuous batching"


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

    @property
    def first_few(self) -> Workload:
        """To warm up with."""
        return Workload(self.prompts[:8], [min(count, 32) for count in self.num_outputs[:8]])


def measure(scale: Scale, tell: Tell) -> None:
    """All requests are there at once."""
    shape = scale.shape("0.6B")
    load = Workload.of(scale, shape.vocab_size)
    ours = tell.known(OURS, scale.runs) or engine_rates(scale, tell, load)
    tell(ours)
    give_memory_back(scale)
    model = random_model(scale, shape, "sdpa")
    theirs = tell.known(THEIRS, 1) or continuous_batching_rates(scale, tell, model, load)
    tell(theirs)
    ratios = tuple(rate / max(theirs.values) for rate in ours.values)
    note = theirs.note or "its fastest run"
    tell(Figure("throughput", "engine over continuous batching", ratios, "times", at_least=RATIO, note=note))
    give_memory_back(scale)
    rates(scale, tell, "transformers' generate, all in one batch", load, lambda: generate(model, load), most_runs=1)


def engine_rates(scale: Scale, tell: Tell, load: Workload) -> Figure:
    shape, budget = scale.shape("0.6B"), scale.of(8192, 16)
    engine = Engine.of(scale, shape, max_num_seqs=scale.of(256, 4), max_num_batched_tokens=budget)
    through_engine(engine, load.first_few)
    return rates(scale, tell, OURS, load, lambda: through_engine(engine, load))


def rates(
    scale: Scale, tell: Tell, name: str, load: Workload, run: Callable[[], int], most_runs: int | None = None
) -> Figure:
    """Output tokens per second of each run, told after each. A run gives how many requests it finished.

    Were they not all, it is taken as if it had finished the others in that moment: it cannot have been faster.
    """
    taken: list[float] = []
    note = ""
    while not taken or (len(taken) < (most_runs or scale.runs) and sum(taken) < SECONDS):
        began = perf_counter()
        num_finished = run()
        scale.synchronize()
        taken.append(perf_counter() - began)
        if num_finished < len(load.prompts):
            note = f"at most: {num_finished} of {len(load.prompts)} requests were done after {taken[-1]:.0f} s"
        figure = Figure("throughput", name, tuple(load.total / seconds for seconds in taken), "tokens/s", note=note)
        tell(figure)
    return figure


def through_engine(engine: Engine, load: Workload) -> int:
    core = engine.core
    for seq_id, (prompt, count) in enumerate(zip(load.prompts, load.num_outputs, strict=True)):
        core.apply(Generate(seq_id, prompt, SamplingParams(count, temperature=0.0), cache_salt=str(perf_counter())))
    num_tokens = 0
    while core.has_work:
        num_tokens += len(core.step().token_ids)
    assert num_tokens == load.total, f"{num_tokens} instead of {load.total} tokens"
    return len(load.prompts)


def continuous_batching_rates(scale: Scale, tell: Tell, model: PreTrainedModel, load: Workload) -> Figure:
    """With its own choices but one: the same prompts come again and again, and must not be found in its cache."""
    settings = GenerationConfig(max_new_tokens=max(load.num_outputs), do_sample=False, eos_token_id=-1, pad_token_id=0)
    # On a CPU it would take most of the memory.
    small = {"num_blocks": 16, "block_size": 16, "max_batch_tokens": 32} if scale.smoke else {}
    choices = ContinuousBatchingConfig(allow_block_sharing=False, **small)
    with model.continuous_batching_context_manager(
        generation_config=settings, continuous_batching_config=choices, block=True, timeout=60
    ) as manager:
        through_manager(manager, load.first_few)
        return rates(scale, tell, THEIRS, load, lambda: through_manager(manager, load))


def through_manager(manager: ContinuousBatchingManager, load: Workload) -> int:
    """How many requests were done within `SECONDS`; no others are left behind."""
    asked = {uuid4().hex: count for count in load.num_outputs}
    deadline = perf_counter() + SECONDS
    for (request_id, count), prompt in zip(asked.items(), load.prompts, strict=True):
        manager.add_request(prompt, request_id, max_new_tokens=count)
    while asked and (left := deadline - perf_counter()) > 0:
        result = manager.get_result(timeout=left)
        if result is None:
            assert manager.is_running(), "transformers' continuous batching has ended"
            continue
        assert result.error is None, result.error
        assert len(result.generated_tokens) == asked.pop(result.request_id)
    for request_id in asked:
        manager.cancel_request(request_id)
    return len(load.prompts) - len(asked)


def generate(model: PreTrainedModel, load: Workload) -> int:
    """How many requests were done within `SECONDS`. Everybody waits for the longest; only what was asked for counts."""
    width = max(map(len, load.prompts))
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in load.prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in load.prompts])
    longest = max(load.num_outputs)
    ended = model.generate(
        padded.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=longest,
        min_new_tokens=longest,
        do_sample=False,
        max_time=SECONDS,
    )
    num_tokens = ended.shape[1] - width
    return sum(count <= num_tokens for count in load.num_outputs)
