"""Runs the engine in this process, and records the time and the contexts of every step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from app.bench.engine.settings import Load
from app.bench.outcome import BenchError
from app.engine.core import EngineCore
from app.messages import Abort, Generate, SamplingParams, StepStats


@dataclass(frozen=True, slots=True)
class TimedStep:
    """One step. `contexts` has the number of tokens that each sequence of the batch had when the step began."""

    stats: StepStats
    contexts: tuple[int, ...]

    @property
    def seconds(self) -> float:
        return self.stats.schedule_seconds + self.stats.execute_seconds + self.stats.update_seconds


class Engine:
    """Runs random prompts, so that the prefix cache never hits, and ignores end tokens."""

    def __init__(self, core: EngineCore, vocab_size: int, seed: int, temperature: float) -> None:
        self._core = core
        self._vocab_size = vocab_size
        self._seed = seed
        self._temperature = temperature
        self._ids = count(1)

    def decode(self, load: Load, advance: Callable[[int], object]) -> list[TimedStep]:
        """The steps in which every sequence decodes one token, and none computes its prompt."""
        longest = load.longest(self._core.scheduler.max_num_batched_tokens)
        seq_ids = [self._add(load.prompt_tokens, longest - load.prompt_tokens) for _ in range(load.num_streams)]
        steps: list[TimedStep] = []
        while len(steps) < load.num_steps:
            if not self._core.has_work:
                raise BenchError("a sequence ended early: the model's logits are not finite")
            step = self._step()
            if step.stats.num_decode_tokens == load.num_streams and not step.stats.num_prefill_tokens:
                steps.append(step)
                advance(1)
        self._core.apply(Abort(tuple(seq_ids)))
        return steps

    def prefill(self, num_tokens: int) -> list[TimedStep]:
        """The steps that compute one prompt, up to the first output token."""
        self._add(num_tokens, 1)
        steps = []
        while self._core.has_work:
            steps.append(self._step())
        return steps

    def _add(self, prompt_tokens: int, max_tokens: int) -> int:
        seq_id = next(self._ids)
        choice = random.Random(f"{self._seed}/{seq_id}")
        prompt = choice.choices(range(self._vocab_size), k=prompt_tokens)
        params = SamplingParams(max_tokens, temperature=self._temperature, seed=seq_id)
        self._core.apply(Generate(seq_id, prompt, params))
        return seq_id

    def _step(self) -> TimedStep:
        contexts = tuple(sequence.num_tokens for sequence in self._core.scheduler.running)
        return TimedStep(self._core.step().stats, contexts)
