"""What decides the outcome of a training run, apart from the code."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Two runs with the same recipe, on the same device with as many threads, have the same loss at every step."""

    steps: int
    seed: int = 0
    device: str = "cpu"
    tokens_per_step: int = 2048
    peak_learning_rate: float = 3e-3
    tokenizer_documents: int = 30_000
    hidden_size: int = 256
    num_layers: int = 5
    interval: int = 250
    """Steps from one checkpoint to the next; the text of each interval is drawn with a seed of its own."""
    compiled: bool = True

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first fiftieth, then a cosine down to a hundredth of the peak."""
        warmup = max(1, self.steps // 50)
        if step < warmup:
            return self.peak_learning_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return self.peak_learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def text_seed(self, step: int) -> int:
        """The seed of the text of the interval that `step` is in."""
        return self.seed * 1_000_000 + step // self.interval
