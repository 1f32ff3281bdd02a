"""The scheduler's promises in random worlds: tiny pools, arrivals, cancels, priorities, salts and shared prefixes.

The runner keeps a fake cache, so that a block shared wrongly, found too early or reused too soon is seen in the step
that reads it; the tokens are compared with those that each sequence would have had alone.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.gate.owner import Owner
from app.engine.core import EngineCore
from app.messages import Abort, FinishReason, Generate, SamplingParams, StepOutput
from app.scheduler.sequence import SequenceStatus
from tests.builders import (
    BROKEN_TOKEN,
    FakeCacheRunner,
    Language,
    check_blocks,
    ids,
    make_scheduler,
    next_token,
    repeating,
    tokens_alone,
)

STEMS = [tuple(range(start, start + 30)) for start in (0, 100, 200)]
"""Prompts begin with a part of one of these, so that many share a prefix."""


@dataclass(frozen=True)
class World:
    """`budgets` are the steps' token budgets, over and over again. With a step cost, tokens are drafted. With overlap,
    a step is scheduled before the last one's tokens are known."""

    num_blocks: int
    block_size: int
    max_num_seqs: int
    budgets: tuple[int, ...]
    step_cost: int = 0
    language: Language = next_token
    overlap: bool = False


@dataclass(frozen=True)
class Arrival:
    """A sequence that comes at a step and, if it is still there, leaves some steps later."""

    step: int
    prompt: tuple[int, ...]
    max_tokens: int
    priority: int = 0
    cache_salt: str = ""
    stop_token_ids: frozenset[int] = frozenset()
    prompt_logprobs: int | None = None
    owner: str = ""
    leaves_after: int | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + self.max_tokens

    def expected(self, language: Language) -> tuple[list[int], FinishReason]:
        if self.prompt[-1] == BROKEN_TOKEN:
            return [], FinishReason.ERROR
        tokens = tokens_alone(self.prompt, self.max_tokens, self.stop_token_ids, language)
        return tokens, FinishReason.STOP if tokens[-1] in self.stop_token_ids else FinishReason.LENGTH


@dataclass
class Play:
    """One world from its first arrival to its last token, with every promise checked in every step."""

    world: World
    arrivals: list[Arrival]
    tokens: dict[int, list[int]] = field(default_factory=dict)
    reported: dict[int, list[int]] = field(default_factory=dict)
    finished: dict[int, FinishReason] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    admitted: dict[int, int] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)
    num_steps: int = 0

    def __post_init__(self) -> None:
        world = self.world
        scheduler = make_scheduler(
            world.num_blocks, world.block_size, world.max_num_seqs, world.budgets[0], world.step_cost
        )
        self.runner = FakeCacheRunner(world.num_blocks, world.block_size, world.language)
        self.core = EngineCore(scheduler, self.runner, world.overlap)

    def run(self) -> None:
        last_change = max((a.step + (a.leaves_after or 0) for a in self.arrivals), default=0)
        bound = last_change + 2 * sum(a.num_tokens for a in self.arrivals) + 1
        while self.num_steps <= last_change or self.core.has_work:
            assert self.num_steps <= bound, f"still at work: {self.core.scheduler.running}"
            self._commands()
            if self.core.has_work:
                self._step()
            self.num_steps += 1
        self._check_end()

    def _commands(self) -> None:
        for seq_id, arrival in enumerate(self.arrivals):
            if arrival.step == self.num_steps:
                self._submit(seq_id, arrival)
            if arrival.leaves_after is not None and arrival.step + arrival.leaves_after == self.num_steps:
                self.core.apply(Abort((seq_id,)))
                if seq_id not in self.finished:
                    self.gone.add(seq_id)
                check_blocks(self.core.scheduler)

    def _submit(self, seq_id: int, arrival: Arrival) -> None:
        params = SamplingParams(
            arrival.max_tokens, stop_token_ids=arrival.stop_token_ids, prompt_logprobs=arrival.prompt_logprobs
        )
        command = Generate(
            seq_id,
            arrival.prompt,
            params,
            arrival.priority,
            arrival.cache_salt,
            owner=arrival.owner,
            precedence=Owner(arrival.owner, min_priority=-(arrival.owner == "b")).precedence(arrival.priority),
        )
        if arrival.num_tokens > self.world.num_blocks * self.world.block_size:
            with pytest.raises(ValueError, match="blocks"):
                self.core.apply(command)
            self.gone.add(seq_id)
        else:
            self.core.apply(command)

    def _step(self) -> None:
        scheduler = self.core.scheduler
        budget = scheduler.max_num_batched_tokens = self.world.budgets[self.num_steps % len(self.world.budgets)]
        first = min(scheduler.running, key=lambda s: s.order, default=None)
        step = self.core.step()
        check_blocks(scheduler)
        self.runner.check_findable(scheduler.pool)
        most = max(self.world.budgets) if self.world.overlap else budget
        assert 0 < step.stats.num_prefill_tokens + step.stats.num_decode_tokens <= most, "nobody got anywhere"
        assert first is None or first.status is not SequenceStatus.WAITING, "the first in order was preempted"
        assert len(scheduler.running) <= self.world.max_num_seqs
        assert (step.stats.num_running, step.stats.num_waiting, step.stats.num_free_blocks) == (
            len(scheduler.running),
            len(scheduler.waiting),
            scheduler.pool.num_free,
        )
        self._collect(step)

    def _collect(self, step: StepOutput) -> None:
        alive = set(range(len(self.arrivals))) - self.gone - set(self.finished)
        assert alive.issuperset([*step.seq_ids, *step.finished])
        reported = alive | self.gone if self.world.overlap else alive
        assert reported.issuperset([*step.prompt_logprobs, *step.admitted])
        assert not step.admitted.keys() & self.admitted.keys()
        self.admitted |= step.admitted
        self.finished |= step.finished
        for seq_id, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            self.tokens.setdefault(seq_id, []).append(token_id)
        for seq_id, reports in step.prompt_logprobs.items():
            self.reported.setdefault(seq_id, []).extend(report.token_id for report in reports)
        self.totals["preempted"] += step.stats.num_preempted
        self.totals["drafted"] += step.stats.num_draft_tokens
        self.totals["accepted"] += sum(step.stats.num_accepted_per_position)
        self.totals["hits"] += step.stats.num_prefix_hits
        self.totals["computed"] += step.stats.num_prefill_tokens + step.stats.num_decode_tokens

    def _check_end(self) -> None:
        assert self.core.scheduler.pool.num_free == self.world.num_blocks
        for seq_id, arrival in enumerate(self.arrivals):
            tokens = self.tokens.get(seq_id, [])
            expected, reason = arrival.expected(self.world.language)
            if seq_id in self.gone:
                assert tokens == expected[: len(tokens)]
                continue
            assert self.finished[seq_id] is reason
            assert tokens == expected
            wanted = [] if arrival.prompt_logprobs is None else list(arrival.prompt[1:])
            assert self.reported.get(seq_id, []) == wanted
            assert self.admitted[seq_id] < len(arrival.prompt)
        assert self.totals["hits"] == sum(self.admitted.values())


def random_world(
    rng: random.Random, language: Language = next_token, step_cost: int = 0, overlap: bool = False
) -> World:
    max_num_seqs = rng.randint(1, 12)
    return World(
        num_blocks=rng.randint(6, 24),
        block_size=rng.randint(1, 5),
        max_num_seqs=max_num_seqs,
        budgets=tuple(max_num_seqs + rng.randint(0, 20) for _ in range(rng.randint(1, 5))),
        step_cost=step_cost,
        language=language,
        overlap=overlap,
    )


def random_arrival(rng: random.Random) -> Arrival:
    tail = tuple(rng.randrange(50) for _ in range(rng.randint(1, 10)))
    if rng.random() < 0.05:
        tail += (BROKEN_TOKEN,)
    return Arrival(
        step=rng.randrange(40),
        prompt=rng.choice(STEMS)[: rng.randint(0, 30)] + tail,
        max_tokens=rng.randint(1, 25),
        priority=rng.choice([0, 0, 0, 1, -1]),
        cache_salt=rng.choice(["", "", "salt"]),
        stop_token_ids=frozenset(rng.sample(range(50), rng.choice([0, 0, 3]))),
        prompt_logprobs=rng.choice([None, None, None, 0]),
        leaves_after=rng.choice([None, None, rng.randrange(60)]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_holds_in_a_random_world(seed: int) -> None:
    rng = random.Random(seed)
    Play(random_world(rng), [random_arrival(rng) for _ in range(30)]).run()


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_holds_while_owners_share_the_world(seed: int) -> None:
    rng = random.Random(seed)
    owners = [str(number) for number in range(rng.randint(2, 4))]
    Play(random_world(rng), [replace(random_arrival(rng), owner=rng.choice(owners)) for _ in range(30)]).run()


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_holds_under_speculation(seed: int) -> None:
    rng = random.Random(seed)
    world = random_world(rng, repeating, step_cost=rng.choice([1, 2, 8]))
    Play(world, [random_arrival(rng) for _ in range(30)]).run()


@pytest.mark.parametrize("seed", range(80))
def test_every_promise_holds_while_steps_overlap(seed: int) -> None:
    rng = random.Random(seed)
    owners = [str(number) for number in range(rng.randint(1, 3))]
    world = random_world(rng, overlap=True, step_cost=8 if seed % 8 == 7 else 0)
    Play(world, [replace(random_arrival(rng), owner=rng.choice(owners)) for _ in range(30)]).run()


def test_drafts_are_often_accepted_and_often_rejected_in_the_random_worlds() -> None:
    totals: Counter[str] = Counter()
    for seed in range(16):
        rng = random.Random(seed)
        play = Play(random_world(rng, repeating, step_cost=8), [random_arrival(rng) for _ in range(30)])
        play.run()
        totals += play.totals
    assert totals["accepted"] > 200
    assert totals["drafted"] - totals["accepted"] > 100
    assert totals["preempted"] > 20


@pytest.mark.parametrize("overlap", [False, True])
def test_the_random_worlds_are_rough_ones(overlap: bool) -> None:
    """Without preemptions, cache hits, cancels, refusals, stops and errors the runs above would mean little."""
    totals: Counter[str] = Counter()
    for seed in range(12):
        rng = random.Random(seed)
        play = Play(random_world(rng, overlap=overlap), [random_arrival(rng) for _ in range(30)])
        play.run()
        totals += play.totals
        totals.update(play.finished.values())
        totals["gone"] += len(play.gone)
    assert totals["preempted"] > 20
    assert totals["hits"] > 200
    assert totals["gone"] > 50
    assert min(totals[reason] for reason in (FinishReason.STOP, FinishReason.LENGTH, FinishReason.ERROR)) > 5


worlds = st.builds(
    lambda max_num_seqs, spare, **rest: World(
        max_num_seqs=max_num_seqs, budgets=tuple(max_num_seqs + s for s in spare), **rest
    ),
    max_num_seqs=st.integers(1, 6),
    spare=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    num_blocks=st.integers(1, 14),
    block_size=st.integers(1, 4),
    step_cost=st.sampled_from([0, 1, 8]),
    language=st.sampled_from([next_token, repeating]),
    overlap=st.booleans(),
)
arrivals = st.builds(
    Arrival,
    step=st.integers(0, 12),
    prompt=st.builds(
        lambda stem, length, tail: stem[:length] + tuple(tail),
        st.sampled_from(STEMS[:2]),
        st.integers(0, 16),
        st.lists(st.integers(0, 2), min_size=1, max_size=6),
    ),
    max_tokens=st.integers(1, 12),
    priority=st.integers(-1, 1),
    cache_salt=st.sampled_from(["", "salt"]),
    prompt_logprobs=st.sampled_from([None, None, 0]),
    leaves_after=st.none() | st.integers(0, 20),
    owner=st.sampled_from(["", "a", "b"]),
)


@settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(world=worlds, arrivals=st.lists(arrivals, max_size=14))
def test_every_promise_holds_in_any_world(world: World, arrivals: list[Arrival]) -> None:
    Play(world, arrivals).run()


def test_a_flood_of_small_sequences_does_not_keep_a_large_one_waiting_for_ever() -> None:
    """They come as fast as they go; the bound on being passed is what lets the large one in at all."""
    world = World(num_blocks=20, block_size=4, max_num_seqs=8, budgets=(32,))
    small = [Arrival(step, (step, 7, 7), max_tokens=6) for step in range(1, 400)]
    play = Play(world, [*small, Arrival(3, tuple(range(64)), max_tokens=8)])
    play.run()
    order = list(play.admitted)
    assert order.index(len(small)) < len(order) / 2, "it had to wait for more than half of those that came after it"


def test_the_same_world_played_twice_gives_the_same_course() -> None:
    """Nothing hangs on hash seeds, addresses or the clock."""
    rng = random.Random(5)
    world, plan = random_world(rng), [random_arrival(rng) for _ in range(30)]
    one, other = Play(world, plan), Play(world, plan)
    one.run()
    other.run()
    assert (one.num_steps, one.totals, list(one.admitted.items())) == (
        other.num_steps,
        other.totals,
        list(other.admitted.items()),
    )


def test_sharing_saves_work_and_changes_no_token() -> None:
    """The same prompts with a salt each compute more and give the same."""
    world = World(num_blocks=60, block_size=4, max_num_seqs=8, budgets=(24,))
    prompts = [(*STEMS[0][:24], seq_id) for seq_id in range(6)]
    shared = Play(world, [Arrival(step, prompt, max_tokens=9) for step, prompt in enumerate(prompts)])
    unshared = Play(world, [replace(a, cache_salt=f"salt {a.step}") for a in shared.arrivals])
    shared.run()
    unshared.run()
    assert shared.tokens == unshared.tokens
    assert unshared.totals["computed"] - shared.totals["computed"] == shared.totals["hits"] == 5 * 24
    assert ids(shared.core.scheduler.waiting) == []
