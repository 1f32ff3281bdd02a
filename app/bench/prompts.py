"""Seeded random prompts of a given number of tokens: token ids if the server accepts them, else text."""

from __future__ import annotations

import random
from dataclasses import dataclass

from app.bench.workload import PlannedRequest

COMMON_WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye word business issue side kind head house service friend father power hour
game line end member law car city name team minute idea body back parent face level office door
"""
WORDS = tuple(COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class TokenIdPrompts:
    """Random token ids from `low` up to but excluding `high`: the number of tokens is exact."""

    low: int
    high: int

    def make(self, planned: PlannedRequest) -> list[int]:
        prefix = self._draw(planned.prefix_seed, planned.num_prefix_tokens)
        return prefix + self._draw(planned.seed, planned.num_prompt_tokens - planned.num_prefix_tokens)

    def _draw(self, seed: str, count: int) -> list[int]:
        return random.Random(seed).choices(range(self.low, self.high), k=count)

    def describe(self) -> str:
        return f"token ids {self.low}-{self.high - 1}, drawn at random: lengths are exact"


@dataclass(frozen=True, slots=True)
class TextPrompts:
    """Common words. `tokens_per_word` and `fixed_tokens` (such as a template's) follow from the server's counts."""

    tokens_per_word: float = 1.0
    fixed_tokens: float = 0.0

    def make(self, planned: PlannedRequest) -> str:
        prefix = round(planned.num_prefix_tokens / self.tokens_per_word)
        wanted = (planned.num_prompt_tokens - planned.num_prefix_tokens - self.fixed_tokens) / self.tokens_per_word
        words = _words(planned.prefix_seed, prefix) + _words(planned.seed, max(round(wanted), 1))
        return " ".join(words)

    def describe(self) -> str:
        return f"words at {self.tokens_per_word:.2f} tokens each: lengths are approximate, usage has the exact ones"


Prompts = TokenIdPrompts | TextPrompts


def _words(seed: str, count: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)
