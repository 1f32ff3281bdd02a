"""Chance, and what is held out: a tenth of everything that can be asked never appears in the training text."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


@lru_cache(maxsize=1 << 16)
def held_out(*key: object) -> bool:
    """Whether this thing (a kind of thing first, then its parts) is kept for the exams; the same for ever."""
    digest = blake2b(repr(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 10 == 0


class Dice(random.Random):
    """Chance for one side: training text, or exams, which see only what training text does not."""

    exam = False

    @classmethod
    def for_exam(cls, rng: random.Random) -> "Dice":
        """Dice that draw only what is held out."""
        dice = cls(rng.getrandbits(64))
        dice.exam = True
        return dice

    def may_use(self, *key: object) -> bool:
        """Whether the thing is on this side."""
        return held_out(*key) is self.exam

    def draw(self, kind: str, make: Callable[[], T]) -> T:
        """What `make` gives, again until it is on this side."""
        while not self.may_use(kind, made := make()):
            pass
        return made

    def one_of(self, kind: str, options: Sequence[T]) -> T:
        """One of the options on this side."""
        return self.draw(kind, lambda: self.choice(options))
