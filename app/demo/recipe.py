"""What decides the outcome of a training run, apart from the code."""

import math
from dataclasses import dataclass

_WARMUP = 50


@dataclass(frozen=True)
class Recipe:
    """Two runs with the same recipe, on the same device with as many threads, have the same loss at every step."""

    steps: int
    seed: int = 0
    start: str | None = None
    """A model's directory, if the run does not begin with fresh weights."""
    device: str = "cpu"
    tokens_per_step: int = 2048
    peak_learning_rate: float = 1e-3
    """At 3e-3 the model forgets how to copy within a hundred steps, and does not learn it again."""
    tokenizer_documents: int = 30_000
    hidden_size: int = 256
    num_layers: int = 5
    interval: int = 250
    """Steps from one checkpoint to the next; the text of each interval is drawn with a seed of its own."""
    copying_steps: int = 250
    """The first steps, whole intervals of them, teach nothing but to copy."""
    compiled: bool = True

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first fifty steps, then a cosine down to a hundredth of the peak."""
        if step < _WARMUP:
            return self.peak_learning_rate * (step + 1) / _WARMUP
        progress = (step - _WARMUP) / max(1, self.steps - _WARMUP)
        return self.peak_learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def text_seed(self, step: int) -> int:
        """The seed of the text of the interval that `step` is in."""
        return self.seed * 1_000_000 + step // self.interval
