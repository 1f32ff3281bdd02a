"""The recipe of a training run: everything that determines its outcome, apart from the code."""

import math
from dataclasses import dataclass, replace

from app.demo.packing import ROW_LENGTHS

OPTIONS = {
    "tokens_per_step": "--tokens-per-step",
    "peak_learning_rate": "--learning-rate",
    "num_layers": "--layers",
}
"""The fields of a recipe that the command line can change, besides those that it must give."""
_WARMUP = 50


@dataclass(frozen=True)
class Recipe:
    """Two runs with the same recipe, device and number of threads have the same loss at every step."""

    steps: int
    seed: int = 0
    start: str | None = None
    """The directory of a model to start from; None for fresh weights."""
    device: str = "cpu"
    tokens_per_step: int = 2048
    row_lengths: tuple[int, ...] = ROW_LENGTHS
    peak_learning_rate: float = 1e-3
    """At 3e-3 the model forgets how to copy within a hundred steps, and never learns it again."""
    tokenizer_documents: int = 30_000
    hidden_size: int = 256
    num_layers: int = 5
    interval: int = 250
    """Number of steps whose text is generated from one seed."""
    saved_every: int = 1
    """Number of intervals between two checkpoints."""
    copying_steps: int = 250
    """The number of initial steps (a multiple of the interval) that teach nothing but copying."""
    compiled: bool = True

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first fifty steps, then a cosine decay to a hundredth of the peak."""
        if step < _WARMUP:
            return self.peak_learning_rate * (step + 1) / _WARMUP
        progress = (step - _WARMUP) / max(1, self.steps - _WARMUP)
        return self.peak_learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def text_seed(self, step: int) -> int:
        """The seed of the text for the interval that contains `step`."""
        return self.seed * 1_000_000 + step // self.interval

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint is saved after this step."""
        return (step + 1) % (self.interval * self.saved_every) == 0 or step + 1 == self.steps


def recipe_for(device: str, *, steps: int, seed: int) -> Recipe:
    """A recipe that suits the device.

    Only large steps keep a GPU busy. All its rows have one length, so that every step sees documents of all lengths,
    and the model is not compiled, because launching such large steps costs less than the minutes of compiling. The text
    comes in short intervals, which are distributed among the processes that prepare it.
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
