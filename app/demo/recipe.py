"""What decides the outcome of a training run, apart from the code."""

import math
from dataclasses import dataclass, replace

from app.demo.packing import ROW_LENGTHS

OPTIONS = {
    "tokens_per_step": "--tokens-per-step",
    "peak_learning_rate": "--learning-rate",
    "num_layers": "--layers",
}
"""What of a recipe the command line can change, apart from what it must say."""
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
    row_lengths: tuple[int, ...] = ROW_LENGTHS
    peak_learning_rate: float = 1e-3
    """At 3e-3 the model forgets how to copy within a hundred steps, and does not learn it again."""
    tokenizer_documents: int = 30_000
    hidden_size: int = 256
    num_layers: int = 5
    interval: int = 250
    """Steps whose text is drawn with one seed."""
    saved_every: int = 1
    """Intervals from one checkpoint to the next."""
    copying_steps: int = 250
    """The first steps, whole intervals of them, teach nothing but to copy."""
    compiled: bool = True

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first fifty steps, then a cosine down to a hundredth of the peak."""
        if step < _WARMUP:
            return self.peak_learning_rate * (step + 1) / _WARMUP
        progress = (step - _WARMUP) / max(1, self.steps - _WARMUP)
        return self.peak_learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def text_seed(self, step: int) -> int:
        """The seed of the text of the interval that `step` is in."""
        return self.seed * 1_000_000 + step // self.interval

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        return (step + 1) % (self.interval * self.saved_every) == 0 or step + 1 == self.steps


def recipe_for(device: str, *, steps: int, seed: int) -> Recipe:
    """What suits the device.

    A GPU is only busy in large steps, and takes the rows as they come: one length of rows, so that every step sees
    documents of all lengths, and no compilation, whose minutes the launches of so large steps do not cost. Its text
    comes in short intervals, which the processes that prepare it take in turn.
    """
    recipe = Recipe(steps=steps, seed=seed, device=device)
    if not recipe.on_gpu:
        return recipe
    return replace(
        recipe,
        tokens_per_step=65_536,
        row_lengths=ROW_LENGTHS[-1:],
        peak_learning_rate=1.5e-3,
        num_layers=8,
        interval=32,
        saved_every=40,
        copying_steps=256,
        compiled=False,
    )
