"""Checkpoints of training runs, which contain everything to resume a run as if it had never been interrupted."""

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

import app.demo.corpus
from app.demo.recipe import Recipe


class AnotherRun(ValueError):
    """The checkpoint belongs to a run with a different recipe or tokenizer; the message says what differs."""


@dataclass
class Progress:
    """The progress of a run."""

    losses: list[float] = field(default_factory=list)
    """The loss of each step, in nats per learned token."""
    seconds: float = 0.0
    corpora: list[tuple[int, str]] = field(default_factory=list)
    """For each version of the training text, the first step on it and a digest of its sources."""

    @property
    def step(self) -> int:
        return len(self.losses)

    def note_corpus(self, digest: str) -> None:
        """Record that from the current step on, the training text is the version with this digest."""
        if not self.corpora or self.corpora[-1][1] != digest:
            self.corpora.append((self.step, digest))

    def recent_loss(self, steps: int) -> float:
        """The mean loss of the last `steps` steps, in nats per learned token."""
        recent = self.losses[-steps:]
        return sum(recent) / len(recent)


def identity(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What must not change for a run to be resumed."""
    text = tokenizer.backend_tokenizer.to_str() + str(tokenizer.chat_template)
    return {**asdict(recipe), "tokenizer": hashlib.sha256(text.encode()).hexdigest()}


def corpus_digest() -> str:
    """A digest that changes whenever the generator of the training text does."""
    digest = hashlib.sha256()
    for source in sorted(Path(app.demo.corpus.__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def save_checkpoint(path: Path, run: dict[str, Any], progress: Progress, state: dict[str, Any]) -> None:
    """Replace the checkpoint atomically: a reader sees either the old one or the new one."""
    unfinished = path.with_suffix(".unfinished")
    torch.save({"run": run, "progress": asdict(progress), "state": state}, unfinished)
    os.replace(unfinished, path)


def load_checkpoint(path: Path, run: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
    """The progress and state of this run. Raises AnotherRun if the checkpoint belongs to a different one."""
    found = torch.load(path, weights_only=True)
    differing = [
        f"{name} was {found['run'].get(name)}, now {value}"
        for name, value in run.items()
        if found["run"].get(name) != value
    ]
    if differing:
        raise AnotherRun(
            f"{path} is a checkpoint of another run: {'; '.join(differing)}. "
            "Go on with what it began with, remove it, or train into another directory."
        )
    return Progress(**found["progress"]), found["state"]
