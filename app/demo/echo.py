"""Samples that teach nothing but copying from the context: random tokens, followed by repetitions of parts of them.

The pair of heads that the model is initialised with (`initialization.py`) is lost if training starts with text, which
first teaches the frequency of each token. After a few hundred steps of these samples the pair is so useful that text
only builds on it. Olsson et al. 2022 (https://arxiv.org/abs/2209.11895) detect such heads with repeated random tokens.
"""

import random
from collections.abc import Iterator

from app.demo.packing import IGNORED, Sample

_LONGEST = 480
_EVERY = 20
"""One in this many samples is an echo."""


def echoes(seed: int, token_ids: range) -> Iterator[Sample]:
    """Endless echoes of the given tokens. Every token of a repeated part is learned, except its first."""
    rng = random.Random(seed)
    while True:
        # The logarithm of the length is uniformly distributed.
        said = rng.choices(token_ids, k=round(4 * (_LONGEST / 4) ** rng.random()))
        sample = Sample(list(said), [IGNORED] * len(said))
        while len(sample.token_ids) < 2 * len(said):
            first = rng.randrange(len(said) - 1)
            stretch = said[first : first + rng.randint(2, len(said))]
            sample.token_ids.extend(stretch)
            sample.labels.extend([IGNORED, *stretch[1:]])
        yield sample


def mixed(samples: Iterator[Sample], echoes: Iterator[Sample]) -> Iterator[Sample]:
    """The samples, with an echo now and then, so that copying is never forgotten."""
    while True:
        for _ in range(_EVERY - 1):
            yield next(samples)
        yield next(echoes)
