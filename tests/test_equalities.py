"""Promise 1 for every architecture: however tokens are batched, chunked, preempted or shared, they are the same.

Each sequence's tokens are compared with `transformers.generate` on its prompt alone.
"""

from __future__ import annotations

import random

import pytest

from app.engine.core import EngineCore
from app.messages import Generate, SamplingParams
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.models import VOCAB_SIZE, generate_alone, greedy, make_runner, on_backends

BLOCK_SIZE = 8
NATIVE_BLOCK_SIZE = 16
MAX_TOKENS = 16
NATIVE = ("Llama", "Qwen2", "Qwen3", "Mistral")
on_every_backend = on_backends(NATIVE)


def make_core(
    architecture: str, native: bool = False, num_tokens: int = 1600, max_num_seqs: int = 16, budget: int = 512
) -> EngineCore:
    block_size = NATIVE_BLOCK_SIZE if native else BLOCK_SIZE
    num_blocks = num_tokens // block_size
    runner = make_runner(architecture, num_blocks, block_size, native)
    return EngineCore(Scheduler(BlockPool(num_blocks), block_size, max_num_seqs, budget), runner)


def make_prompts(count: int, longest: int = 50, seed: int = 1) -> list[tuple[int, ...]]:
    """Prompts of ragged lengths, the second half sharing prefixes with the first."""
    rng = random.Random(seed)
    prompts = [tuple(rng.randrange(1, VOCAB_SIZE) for _ in range(rng.randrange(1, longest))) for _ in range(count // 2)]
    return prompts + [(*prompt, rng.randrange(1, VOCAB_SIZE)) for prompt in prompts]


def run(core: EngineCore, prompts: list[tuple[int, ...]], params: SamplingParams | None = None) -> list[list[int]]:
    """Every prompt at once; the tokens each of them got."""
    for index, prompt in enumerate(prompts):
        core.apply(Generate(index, prompt, params or greedy(MAX_TOKENS)))
    outputs: list[list[int]] = [[] for _ in prompts]
    while core.has_work:
        step = core.step()
        for index, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            outputs[index].append(token_id)
    assert core.scheduler.pool.num_free == core.scheduler.pool.num_blocks
    return outputs


def alone(architecture: str, prompts: list[tuple[int, ...]]) -> list[list[int]]:
    return [generate_alone(architecture, prompt, MAX_TOKENS) for prompt in prompts]


@on_every_backend
def test_batched_equals_alone_equals_transformers(architecture: str, native: bool) -> None:
    prompts = make_prompts(6)
    outputs = run(make_core(architecture, native), prompts)
    assert outputs == alone(architecture, prompts)
    assert len({token_id for output in outputs for token_id in output}) > 5, "the model repeats itself: a weak test"


@on_every_backend
def test_chunked_and_preempted_equals_undisturbed(architecture: str, native: bool) -> None:
    prompts = make_prompts(8, longest=30)
    core = make_core(architecture, native, num_tokens=80, max_num_seqs=5, budget=7)
    for index, prompt in enumerate(prompts):
        core.apply(Generate(index, prompt, greedy(MAX_TOKENS)))
    outputs: list[list[int]] = [[] for _ in prompts]
    num_preempted = 0
    while core.has_work:
        step = core.step()
        num_preempted += step.stats.num_preempted
        for index, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            outputs[index].append(token_id)
    assert outputs == alone(architecture, prompts)
    assert num_preempted > 0, "the pool is too large for this test to mean anything"


@on_every_backend
def test_a_shared_prefix_equals_an_unshared_one(architecture: str, native: bool) -> None:
    prefix = make_prompts(2, longest=60, seed=3)[0] * 2
    prompts = [(*prefix, token_id) for token_id in (5, 6, 7)]
    core = make_core(architecture, native)
    first = run(core, prompts[:1])
    others = run(core, prompts[1:])
    assert first + others == alone(architecture, prompts)


def test_a_prefix_found_in_the_cache_is_not_computed_again() -> None:
    core = make_core("Llama")
    prompt = tuple(range(1, 60))
    run(core, [prompt])
    core.apply(Generate(0, (*prompt, 9), greedy(1)))
    step = core.step()
    assert step.admitted == {0: 56}
    assert step.stats.num_prefill_tokens == 4


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=MAX_TOKENS, seed=7, temperature=1.0),
        SamplingParams(max_tokens=MAX_TOKENS, seed=8, temperature=0.7, top_k=10, top_p=0.9, min_p=0.01),
        SamplingParams(
            max_tokens=MAX_TOKENS, seed=9, presence_penalty=0.5, frequency_penalty=0.3, repetition_penalty=1.1
        ),
    ],
    ids=["plain", "truncated", "penalised"],
)
def test_a_seed_gives_the_same_tokens_whatever_else_happens(params: SamplingParams) -> None:
    prompts = make_prompts(6)
    undisturbed = [run(make_core("Llama"), [prompt], params)[0] for prompt in prompts]
    assert run(make_core("Llama"), prompts, params) == undisturbed
    assert run(make_core("Llama", num_tokens=96, max_num_seqs=5, budget=7), prompts, params) == undisturbed


def test_resuming_with_the_tokens_so_far_equals_going_on() -> None:
    """What recovery rests on: the draw depends on the position, not on when the sequence was submitted."""
    params = SamplingParams(max_tokens=MAX_TOKENS, seed=3)
    prompt = tuple(range(1, 20))
    [whole] = run(make_core("Llama"), [prompt], params)
    [rest] = run(make_core("Llama"), [prompt + tuple(whole[:6])], SamplingParams(max_tokens=MAX_TOKENS - 6, seed=3))
    assert whole[:6] + rest == whole
