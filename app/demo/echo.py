"""Samples that teach nothing but to copy from the context: tokens at random, and then stretches of them again.

The pair of heads with which the model begins (`initialization.py`) is lost if the training starts with text, whose
first lesson is how often each token comes; after a few hundred steps of these samples it has become so useful that text
only builds on it. Repeated random tokens are how Olsson et al. 2022 (https://arxiv.org/abs/2209.11895) tell such heads.
"""

import random
from collections.abc import Iterator

from app.demo.packing import IGNORED, Sample

_LONGEST = 480
_EVERY = 20
"""Among the samples of text, one in so many is an echo."""


def echoes(seed: int, token_ids: range) -> Iterator[Sample]:
    """Echoes without end, made of the given tokens; each token of a stretch is learned but its first."""
    rng = random.Random(seed)
    while True:
        # Short and long ones are as common as each other when counted by their logarithm.
        said = rng.choices(token_ids, k=round(4 * (_LONGEST / 4) ** rng.random()))
        sample = Sample(list(said), [IGNORED] * len(said))
        while len(sample.token_ids) < 2 * len(said):
            first = rng.randrange(len(said) - 1)
            stretch = said[first : first + rng.randint(2, len(said))]
            sample.token_ids.extend(stretch)
            sample.labels.extend([IGNORED, *stretch[1:]])
        yield sample


def mixed(samples: Iterator[Sample], echoes: Iterator[Sample]) -> Iterator[Sample]:
    """The samples with an echo now and then, so that copying any token is never forgotten."""
    while True:
        for _ in range(_EVERY - 1):
            yield next(samples)
        yield next(echoes)
