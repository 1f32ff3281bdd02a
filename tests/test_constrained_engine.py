"""Promise 9 in the engine: a constrained answer that ended by itself satisfies its grammar, and is the same whatever
else happens.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.constraints.tokens import TokenTable
from app.engine.constraints import Constraints
from app.messages import Abort, Constraint, ConstraintKind, FinishReason, Generate, SamplingParams
from app.model.sampling.masks import apply_on_cpu, apply_on_device
from tests.constrained_engine import END, World, byte_table, regex, text_of

PATTERN = r"(red|green|blue), [a-z]{3,12}: -?[0-9]{1,5}(\.[0-9]{2})?;"
COLOUR = regex(PATTERN)
STOPS = SamplingParams(40, temperature=0.0, stop_token_ids=frozenset([END]))
PARAMS = [
    STOPS,
    replace(STOPS, temperature=1.0, seed=3),
    replace(STOPS, temperature=2.0, seed=4, top_k=9, logprobs=2),
    replace(STOPS, temperature=0.7, seed=5, top_p=0.8, min_p=0.02, prompt_logprobs=1),
    replace(STOPS, repetition_penalty=1.8, frequency_penalty=0.5, presence_penalty=0.5),
    replace(STOPS, logit_bias=((ord("Q"), 100.0), (END, 50.0), (ord("b"), -100.0))),
    replace(STOPS, stop_token_ids=frozenset()),
    replace(STOPS, temperature=1.0, seed=6, min_tokens=39),
]
PROMPTS = [tuple((7 * i + j) % 120 + 1 for j in range(5 + 9 * i)) for i in range(len(PARAMS))]
CONSTRAINED = [
    Generate(i, prompt, params, constraint=COLOUR)
    for i, (prompt, params) in enumerate(zip(PROMPTS, PARAMS, strict=True))
]
FREE = [replace(command, seq_id=command.seq_id + 100, constraint=None) for command in CONSTRAINED]

Apply = Callable[[torch.Tensor, NDArray[np.uint8], list[int]], torch.Tensor]


def alone(command: Generate, native: bool = False) -> list[int]:
    return World(native=native).run(command)[command.seq_id]


def expected(commands: Iterable[Generate] = CONSTRAINED) -> dict[int, list[int]]:
    return {command.seq_id: alone(command) for command in commands}


# Masks


@pytest.mark.parametrize("apply", [apply_on_cpu, apply_on_device])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [2], [0, 3]])
def test_forbidden_tokens_of_masked_rows_and_no_others_are_out(apply: Apply, rows: list[int]) -> None:
    vocab_size, num_words = 77, 3
    logits = torch.randn(4, 96)[:, :vocab_size]
    masks = np.random.default_rng(0).integers(-(2**31), 2**31, (len(rows), num_words), dtype=np.int32)
    expected = logits.clone()
    for row, mask in zip(rows, masks.tolist(), strict=True):
        for token_id in range(vocab_size):
            if not mask[token_id // 32] >> token_id % 32 & 1:
                expected[row, token_id] = -torch.inf
    assert apply(logits, masks.view(np.uint8), rows).equal(expected)


# What is answered


@pytest.mark.parametrize("command", CONSTRAINED, ids=range(len(CONSTRAINED)))
@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
def test_an_answer_matches_its_constraint_whatever_its_parameters(command: Generate, native: bool) -> None:
    world = World(native=native)
    text = text_of(world.run(command)[command.seq_id])
    assert world.finished == {command.seq_id: FinishReason.STOP}
    assert re.fullmatch(PATTERN, text)


def test_an_answer_that_is_cut_is_the_beginning_of_one() -> None:
    world = World()
    world.run(replace(CONSTRAINED[0], params=replace(STOPS, max_tokens=4)))
    assert world.finished == {0: FinishReason.LENGTH}
    assert alone(CONSTRAINED[0])[:4] == world.tokens[0]


def test_a_stop_token_is_sampled_where_the_answer_is_whole_and_nowhere_else() -> None:
    params = replace(STOPS, logit_bias=((END, 100.0),))
    tokens = World().run(Generate(0, [1, 2], params, constraint=regex("(ab){2,9}")))[0]
    assert (text_of(tokens), tokens[-1]) == ("abab", END)


def test_a_stop_token_that_is_also_text_comes_where_the_answer_is_whole_and_nowhere_else() -> None:
    params = replace(STOPS, stop_token_ids=frozenset([ord("b")]))
    assert re.fullmatch("[ac]{5}b", text_of(World().run(Generate(0, [1, 2], params, constraint=regex("[abc]{5}")))[0]))


@pytest.mark.parametrize("params", [replace(STOPS, stop_token_ids=frozenset()), replace(STOPS, min_tokens=30)])
def test_the_end_of_a_grammar_ends_an_answer_that_no_stop_token_can_end(params: SamplingParams) -> None:
    world = World()
    tokens = world.run(Generate(0, [1, 2], params, constraint=regex("abc")))[0]
    assert (text_of(tokens), len(tokens), world.finished) == ("abc", 3, {0: FinishReason.STOP})


def test_logprobs_are_the_models_own() -> None:
    [reports] = _logprobs(replace(STOPS, logprobs=3, max_tokens=2), COLOUR)
    [free] = _logprobs(replace(STOPS, logprobs=3, max_tokens=1), None)
    assert reports[0].top == free[0].top
    assert reports[0].logprob < free[0].logprob


def _logprobs(params: SamplingParams, constraint: Constraint | None) -> list[list]:  # type: ignore[type-arg]
    world = World()
    world.submit(Generate(0, PROMPTS[0], params, constraint=constraint))
    return [[report for _ in range(params.max_tokens) for report in world.core.step().logprobs.values()]]


# Whatever else happens


@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
@pytest.mark.parametrize("overlap", [False, True], ids=["one by one", "overlap"])
def test_an_answer_is_the_same_in_company_and_in_pieces(native: bool, overlap: bool) -> None:
    world = World(native=native, overlap=overlap, budget=11)
    mixed = [command for pair in zip(CONSTRAINED, FREE, strict=True) for command in pair]
    assert world.run(*mixed) == {command.seq_id: alone(command, native) for command in mixed}


@pytest.mark.parametrize("overlap", [False, True], ids=["one by one", "overlap"])
def test_an_answer_is_the_same_after_a_preemption(overlap: bool) -> None:
    world = World(num_tokens=128, overlap=overlap)
    commands = [replace(command, prompt_token_ids=command.prompt_token_ids[:8]) for command in CONSTRAINED]
    assert world.run(*commands) == expected(commands)
    assert world.num_preempted > 0, "the pool is too large for this test to mean anything"


@pytest.mark.parametrize("num_steps", [2, 7, 15])
def test_an_answer_is_the_same_after_its_engine_died(num_steps: int) -> None:
    first, second = World(), World()
    first.submit(*CONSTRAINED)
    for _ in range(num_steps):
        first.step()
    left = [command for command in CONSTRAINED if command.seq_id not in first.finished]
    rest = second.run(*(replace(command, output_token_ids=first.tokens[command.seq_id]) for command in left))
    whole = {command.seq_id: first.tokens[command.seq_id] + rest.get(command.seq_id, []) for command in CONSTRAINED}
    assert whole == expected()


def test_an_answer_is_the_same_with_drafts() -> None:
    repeating = regex(r"(abc|cab)(, (abc|cab)){3,20}")
    commands = [*CONSTRAINED, *(replace(c, seq_id=50 + c.seq_id, constraint=repeating) for c in CONSTRAINED)]
    world = World(step_cost=20)
    assert world.run(*commands, *FREE) == expected([*commands, *FREE])
    assert world.num_accepted > 0


FORCED_PATTERN = "the answer: [0-9]{2} and no more(, none)?"
FORCED = regex(FORCED_PATTERN)


def test_tokens_that_a_grammar_forces_take_no_step_of_their_own() -> None:
    world = World()
    world.run(Generate(0, [1, 2], STOPS, constraint=FORCED))
    assert re.fullmatch(FORCED_PATTERN, text_of(world.tokens[0]))
    assert world.num_steps < 10 < world.num_accepted


@pytest.mark.parametrize("step_cost", [0, 20])
@pytest.mark.parametrize("native", [False, True], ids=["sdpa", "native"])
def test_an_answer_of_forced_tokens_is_the_one_that_was_sampled_one_by_one(step_cost: int, native: bool) -> None:
    commands = [replace(c, prompt_token_ids=c.prompt_token_ids[:8], constraint=FORCED) for c in CONSTRAINED]
    plain = World(native=native, overlap=True)
    drafted = World(native=native, step_cost=step_cost, num_tokens=128, budget=80)
    assert drafted.run(*commands) == plain.run(*commands)
    assert drafted.finished == plain.finished
    assert drafted.num_accepted > 0 == plain.num_accepted
    assert drafted.num_preempted > 0, "the pool is too large for this test to mean anything"


@pytest.mark.parametrize("max_tokens", range(1, 8))
def test_forced_tokens_end_where_an_answer_is_cut(max_tokens: int) -> None:
    world = World()
    world.run(Generate(0, [1, 2], replace(STOPS, max_tokens=max_tokens), constraint=FORCED))
    assert (text_of(world.tokens[0]), world.finished) == ("the ans"[:max_tokens], {0: FinishReason.LENGTH})


# One sequence and the others


def test_a_sequence_waits_for_its_grammar_without_holding_others_up() -> None:
    world = World()
    world.core.apply(CONSTRAINED[0])
    assert world.run(FREE[0]) == {100: alone(FREE[0])}
    world.core.apply(world.prepared.get())
    assert world.run()[0] == alone(CONSTRAINED[0])


def test_a_sequence_that_leaves_while_its_grammar_is_compiled_never_begins() -> None:
    is_gone = Event()

    def make_table() -> TokenTable:
        is_gone.wait()
        return byte_table()

    world = World(constraints=Constraints(make_table))
    world.core.apply(CONSTRAINED[0])
    world.core.apply(Abort((0,)))
    is_gone.set()
    assert world.run(CONSTRAINED[1]) == {1: alone(CONSTRAINED[1])}


def test_a_sequence_that_leaves_once_its_grammar_is_compiled_never_begins() -> None:
    world = World()
    world.core.apply(CONSTRAINED[0])
    prepared = world.prepared.get()
    world.core.apply(Abort((0,)))
    world.core.apply(prepared)
    assert not world.core.has_work


def test_without_a_table_of_tokens_only_constrained_sequences_end_with_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(constraints=Constraints())
    assert world.run(FREE[0], CONSTRAINED[1]) == {100: alone(FREE[0])}
    assert world.finished == {100: FinishReason.LENGTH, 1: FinishReason.ERROR}
    assert "sequence 1 ends with an error" in caplog.text


def test_a_grammar_that_the_engine_cannot_compile_costs_its_own_sequence_only() -> None:
    world = World()
    broken = replace(CONSTRAINED[1], constraint=Constraint(ConstraintKind.COMPILED, '{"grammars": [{}]}'))
    assert world.run(broken, CONSTRAINED[0]) == {0: alone(CONSTRAINED[0])}
    assert world.finished[1] is FinishReason.ERROR


@pytest.mark.parametrize("overlap", [False, True], ids=["one by one", "overlap"])
def test_a_matcher_that_fails_ends_its_sequence_only(overlap: bool, caplog: pytest.LogCaptureFixture) -> None:
    world = World(overlap=overlap)
    world.submit(CONSTRAINED[0], replace(CONSTRAINED[0], seq_id=1), FREE[0])
    for _ in range(3):
        world.step()
    [failing] = [guide for sequence, guide in world.core.constraints.guides.items() if sequence.seq_id == 1]
    failing.matcher.inner.consume_token(ord("\n"))
    with caplog.at_level(logging.ERROR):
        world.run()
    assert world.finished == {0: FinishReason.STOP, 1: FinishReason.ERROR, 100: FinishReason.LENGTH}
    assert [world.tokens[0], world.tokens[100]] == [alone(CONSTRAINED[0]), alone(FREE[0])]
    assert caplog.text.count("sequence 1 ends with an error") == 1


def test_nothing_is_kept_of_a_sequence_that_has_ended() -> None:
    world = World()
    world.run(*CONSTRAINED)
    world.run(replace(FREE[0], seq_id=200))
    assert not world.core.constraints.guides


def test_no_table_is_made_for_those_who_ask_for_no_constraint() -> None:
    def make_table() -> TokenTable:
        raise AssertionError("nobody has asked for it")

    assert World(constraints=Constraints(make_table)).run(FREE[0]) == {100: alone(FREE[0])}


def test_the_table_is_made_once() -> None:
    made = []

    def make_table() -> TokenTable:
        made.append(1)
        return byte_table()

    World(constraints=Constraints(make_table)).run(*CONSTRAINED)
    assert made == [1]
