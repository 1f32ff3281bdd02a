"""Promise 1 under speculation: whatever is drafted, and whatever else happens, the tokens are the same.

Every world is played with and without speculation. A clairvoyant replaces the drafter: it knows the right tokens and
spoils some of them, so that drafts of every length are right, wrong, or wrong in the middle.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import pytest
import torch

from app.engine.core import EngineCore
from app.messages import Abort, FinishReason, Generate, SamplingParams, TokenLogprobs
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.builders import check_blocks
from tests.models import VOCAB_SIZE, generate_alone, greedy, make_runner, on_backends

MAX_TOKENS = 24
NATIVE = ("Llama", "Qwen3", "Mistral")
on_every_backend = on_backends(NATIVE)


@dataclass
class Result:
    """The results of all sequences (tokens, logprobs, finish reasons), and how many drafts were accepted."""

    tokens: dict[int, list[int]] = field(default_factory=dict)
    logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    finished: dict[int, FinishReason] = field(default_factory=dict)
    num_drafted: int = 0
    num_accepted: int = 0
    num_preempted: int = 0
    num_steps: int = 0


class Clairvoyant:
    """Drafts up to 6 tokens that are known to come, but a wrong token in a third of all places."""

    def __init__(self, whole: list[int], seed: int) -> None:
        self._whole = whole
        self._choice = random.Random(seed)

    def num_paying(self, worth: float) -> int:
        return 6

    def draft(self, token_ids: array[int], count: int, stop_token_ids: Container[int]) -> tuple[int, ...]:
        return tuple(self._propose(token_ids, count, stop_token_ids))

    def learn(self, num_drafted: int, num_accepted: int) -> None:
        """It knows."""

    def _propose(self, token_ids: array[int], count: int, stop_token_ids: Container[int]) -> Iterator[int]:
        for token_id in self._whole[len(token_ids) : len(token_ids) + min(count, self._choice.randrange(7))]:
            proposed = self._choice.randrange(VOCAB_SIZE) if self._choice.random() < 0.3 else token_id
            if proposed in stop_token_ids:
                return
            yield proposed


def make_core(
    architecture: str,
    native: bool = False,
    num_tokens: int = 1600,
    budget: int = 512,
    step_cost: int = 0,
    dtype: torch.dtype = torch.float32,
    quantization: str = "none",
) -> EngineCore:
    block_size = 16 if native else 8
    num_blocks = num_tokens // block_size
    scheduler = Scheduler(BlockPool(num_blocks), block_size, min(budget, 16), budget, step_cost)
    return EngineCore(scheduler, make_runner(architecture, num_blocks, block_size, native, dtype, quantization))


def play(core: EngineCore, commands: list[Generate], known: Result | None = None, leaves: int | None = None) -> Result:
    """Run all commands at once, to their ends. With a known result, a clairvoyant drafts for every sequence."""
    for command in commands:
        core.apply(command)
        if known is not None:
            sequence = core.scheduler._sequences[command.seq_id]
            whole = [*command.prompt_token_ids, *known.tokens[command.seq_id]]
            sequence.drafter = Clairvoyant(whole, command.seq_id)  # type: ignore[assignment]
    result = Result()
    while core.has_work:
        if leaves is not None and result.num_steps == 4:
            core.apply(Abort((leaves,)))
        step = core.step()
        check_blocks(core.scheduler)
        result.num_steps += 1
        result.num_drafted += step.stats.num_draft_tokens
        result.num_accepted += sum(step.stats.num_accepted_per_position)
        result.num_preempted += step.stats.num_preempted
        result.finished |= step.finished
        for row, (seq_id, token_id) in enumerate(zip(step.seq_ids, step.token_ids, strict=True)):
            result.tokens.setdefault(seq_id, []).append(token_id)
            if row in step.logprobs:
                result.logprobs.setdefault(seq_id, []).append(step.logprobs[row])
        for seq_id, reports in step.prompt_logprobs.items():
            result.prompt_logprobs.setdefault(seq_id, []).extend(reports)
    assert core.scheduler.pool.num_free == core.scheduler.pool.num_blocks
    return result


def make_prompts(count: int, seed: int = 1) -> list[tuple[int, ...]]:
    """Prompts of different lengths, of which the second half start like the first."""
    rng = random.Random(seed)
    prompts = [tuple(rng.randrange(1, VOCAB_SIZE) for _ in range(rng.randrange(1, 40))) for _ in range(count // 2)]
    return prompts + [(*prompt, rng.randrange(1, VOCAB_SIZE)) for prompt in prompts]


def with_params(params: SamplingParams, count: int = 6) -> list[Generate]:
    return [Generate(seq_id, prompt, params) for seq_id, prompt in enumerate(make_prompts(count))]


def approximately(reports: dict[int, list[TokenLogprobs]]) -> dict[int, list[tuple[object, ...]]]:
    return {
        seq_id: [
            (r.token_id, pytest.approx(r.logprob, abs=1e-3), [token_id for token_id, _ in r.top]) for r in of_sequence
        ]
        for seq_id, of_sequence in reports.items()
    }


def exactly(reports: dict[int, list[TokenLogprobs]]) -> dict[int, list[tuple[object, ...]]]:
    return {
        seq_id: [(r.token_id, r.logprob, [token_id for token_id, _ in r.top]) for r in of_sequence]
        for seq_id, of_sequence in reports.items()
    }


@pytest.mark.parametrize("quantization", ["none", "int8", "int4"])
def test_speculative_equals_plain_in_every_precision(quantization: str) -> None:
    commands = with_params(greedy(MAX_TOKENS))
    plain = play(make_core("Qwen3", True, dtype=torch.bfloat16, quantization=quantization), commands)
    core = make_core(
        "Qwen3", True, num_tokens=160, budget=9, step_cost=2, dtype=torch.bfloat16, quantization=quantization
    )
    speculative = play(core, commands, known=plain)
    assert speculative.tokens == plain.tokens
    assert 0 < speculative.num_accepted < speculative.num_drafted


@on_every_backend
def test_speculative_equals_plain_equals_transformers(architecture: str, native: bool) -> None:
    commands = with_params(greedy(MAX_TOKENS))
    plain = {c.seq_id: generate_alone(architecture, tuple(c.prompt_token_ids), MAX_TOKENS) for c in commands}
    speculative = play(make_core(architecture, native, step_cost=8), commands, Result(plain))
    assert speculative.tokens == plain
    assert min(speculative.num_accepted, speculative.num_drafted - speculative.num_accepted) > 10


@on_every_backend
def test_chunked_preempted_and_speculative_equals_undisturbed(architecture: str, native: bool) -> None:
    commands = with_params(greedy(MAX_TOKENS), 8)
    plain = {c.seq_id: generate_alone(architecture, tuple(c.prompt_token_ids), MAX_TOKENS) for c in commands}
    speculative = play(make_core(architecture, native, 96, budget=11, step_cost=8), commands, Result(plain))
    assert speculative.tokens == plain
    assert speculative.num_preempted > 0
    assert min(speculative.num_accepted, speculative.num_drafted - speculative.num_accepted) > 10


PARAMS = {
    "drawn": SamplingParams(MAX_TOKENS, seed=7),
    "truncated": SamplingParams(MAX_TOKENS, seed=8, temperature=0.7, top_k=10, top_p=0.9, min_p=0.01),
    "penalised": SamplingParams(
        MAX_TOKENS, seed=9, presence_penalty=0.8, frequency_penalty=0.9, repetition_penalty=1.3
    ),
    "penalised greedily": SamplingParams(
        MAX_TOKENS, temperature=0.0, presence_penalty=0.8, frequency_penalty=0.9, repetition_penalty=1.3
    ),
    "biased": SamplingParams(MAX_TOKENS, seed=3, logit_bias=((5, 3.0), (9, -100.0))),
    "stopping": SamplingParams(MAX_TOKENS, seed=3, stop_token_ids=frozenset(range(0, VOCAB_SIZE, 9))),
    "stopping late": SamplingParams(
        MAX_TOKENS, seed=3, min_tokens=12, stop_token_ids=frozenset(range(0, VOCAB_SIZE, 9))
    ),
    "reported": SamplingParams(MAX_TOKENS, seed=5, logprobs=3, prompt_logprobs=2),
}


@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
@pytest.mark.parametrize("name", PARAMS)
def test_speculative_equals_plain_however_tokens_are_sampled(name: str, native: bool) -> None:
    commands = with_params(PARAMS[name])
    plain = play(make_core("Llama", native), commands)
    speculative = play(make_core("Llama", native, step_cost=8), commands, plain)
    tight = play(make_core("Llama", native, 96, budget=11, step_cost=8), commands, plain)
    for result in (speculative, tight):
        assert result.tokens == plain.tokens
        assert result.finished == plain.finished
        assert exactly(result.logprobs) == approximately(plain.logprobs)
        assert exactly(result.prompt_logprobs) == approximately(plain.prompt_logprobs)
        assert result.num_accepted > 5
    assert speculative.num_steps < plain.num_steps
    if name == "reported":
        assert [len(of_sequence) for of_sequence in speculative.logprobs.values()] == [MAX_TOKENS] * len(commands)


@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
def test_rows_of_every_kind_in_one_batch_do_not_disturb_each_other(native: bool) -> None:
    """Each sequence has its own parameters; two have no drafts in their second half, one is aborted midway."""
    commands = [
        Generate(seq_id, prompt, params)
        for seq_id, (prompt, params) in enumerate(zip(make_prompts(8), PARAMS.values(), strict=True))
    ]
    alone = {c.seq_id: play(make_core("Llama", native), [c]).tokens[c.seq_id] for c in commands}
    known = Result(alone | {index: alone[index][: MAX_TOKENS // 2] for index in (1, 3)})
    together = play(make_core("Llama", native, 400, budget=40, step_cost=8), commands, known, leaves=2)
    left = together.tokens.pop(2)
    assert left == alone.pop(2)[: len(left)]
    assert len(left) < MAX_TOKENS
    assert together.tokens == alone
    assert together.num_accepted > 20


@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
def test_a_prefix_cached_by_a_speculative_sequence_is_as_good_as_any(native: bool) -> None:
    [first, *_] = with_params(greedy(40))
    plain = play(make_core("Llama", native), [first])
    core = make_core("Llama", native, step_cost=8)
    play(core, [first], plain)
    longer = (*first.prompt_token_ids, *plain.tokens[0], 5, 6)
    core.apply(Generate(1, longer, greedy(MAX_TOKENS)))
    step = core.step()
    block_size = core.scheduler.block_size
    assert step.admitted == {1: (len(longer) - 3) // block_size * block_size}
    rest = play(core, [])
    assert step.token_ids + rest.tokens[1] == generate_alone("Llama", longer, MAX_TOKENS)


def test_the_real_drafter_speeds_up_a_text_that_repeats_and_changes_nothing() -> None:
    """A bias towards few tokens makes the model repeat itself."""
    bias = tuple((token_id, 100.0) for token_id in (3, 4, 5, 6))
    commands = [
        Generate(seq_id, prompt, SamplingParams(60, temperature=0.0, logit_bias=bias))
        for seq_id, prompt in enumerate(make_prompts(2))
    ]
    plain = play(make_core("Llama"), commands)
    speculative = play(make_core("Llama", step_cost=2), commands)
    assert speculative.tokens == plain.tokens
    assert speculative.num_accepted > 20
    assert speculative.num_steps < plain.num_steps
