"""Train the embedded model from nothing: `python -m app.demo.train --out DIRECTORY`."""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from app.demo.answer import QUESTIONS, answers
from app.demo.card import card
from app.demo.checkpoint import Progress, corpus_digest, identity, load_checkpoint, save_checkpoint
from app.demo.corpus import documents
from app.demo.echo import echoes, mixed
from app.demo.network import CONTEXT_LENGTH, VOCAB_SIZE, build_network
from app.demo.packing import Batch, Packer, Sample, encoded
from app.demo.recipe import Recipe
from app.demo.step import Stepper
from app.demo.tokenizer import FIRST_WORD, build_tokenizer


class Run:
    """A run that stands in `out` (the model so far) and `out.checkpoint` (all else), and goes on from there."""

    def __init__(self, recipe: Recipe, out: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raises AnotherRun if `out` was begun with another recipe or tokenizer."""
        self.recipe = recipe
        self.out = out
        self.checkpoint = out.with_name(out.name + ".checkpoint")
        self.tokenizer = tokenizer
        self.progress = Progress()
        torch.manual_seed(recipe.seed)
        model = build_network(tokenizer, hidden_size=recipe.hidden_size, num_layers=recipe.num_layers)
        if recipe.start is not None:
            model.load_state_dict(LlamaForCausalLM.from_pretrained(recipe.start, dtype=torch.float32).state_dict())
        self.model: LlamaForCausalLM = model.to(recipe.device)
        self.stepper = Stepper(self.model, compiled=recipe.compiled)
        self.identity = identity(recipe, tokenizer)
        if self.checkpoint.exists():
            self.progress, state = load_checkpoint(self.checkpoint, self.identity)
            self.stepper.restore(state)

    def finish(self) -> Progress:
        """Take all steps that are left, with a checkpoint at the end of each interval."""
        began_at = self.progress.step
        with tqdm(initial=began_at, total=self.recipe.steps, desc="training", unit="step", mininterval=1) as bar:
            while self.progress.step < self.recipe.steps:
                self._interval(bar)
                self._save()
        return self.progress

    def _interval(self, bar: "tqdm[NoReturn]") -> None:
        first = self.progress.step
        last = min(first - first % self.recipe.interval + self.recipe.interval, self.recipe.steps)
        self._note_corpus(first)
        packer = Packer(self._samples(first), self.model.config.pad_token_id, self.recipe.tokens_per_step)
        for step in range(first, last):
            began = time.perf_counter()
            batch = Batch(*(tensor.to(self.recipe.device) for tensor in packer.batch()))
            self.progress.losses.append(self.stepper.step(batch, self.recipe.learning_rate(step)))
            seconds = time.perf_counter() - began
            self.progress.seconds += seconds
            loss, speed = self.progress.recent_loss(50), self.recipe.tokens_per_step / seconds
            bar.set_postfix(loss=f"{loss:.3f}", tokens_per_second=f"{speed:.0f}", refresh=False)
            bar.update()

    def _samples(self, step: int) -> Iterator[Sample]:
        """What is learned from `step` on, drawn anew."""
        seed = self.recipe.text_seed(step)
        copied = echoes(seed, range(FIRST_WORD, VOCAB_SIZE))
        return copied if step < self.recipe.copying_steps else mixed(encoded(documents(seed), self.tokenizer), copied)

    def _note_corpus(self, step: int) -> None:
        digest = corpus_digest()
        if not self.progress.corpora or self.progress.corpora[-1][1] != digest:
            self.progress.corpora.append((step, digest))

    def _save(self) -> None:
        save_model(self.model, self.tokenizer, card(self.model, self.recipe, self.progress), self.out)
        save_checkpoint(self.checkpoint, self.identity, self.progress, self.stepper.state())


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, readme: str, out: Path) -> None:
    """Write everything beside `out` first and then move file by file, so that no file is ever half there."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        (Path(staging) / "README.md").write_text(readme, encoding="utf-8")
        for file in sorted(Path(staging).iterdir()):
            # Weights are written for their owner alone, but a container may run as somebody else.
            file.chmod(0o644)
            file.replace(out / file.name)


def train(recipe: Recipe, out: Path, tokenizer: PreTrainedTokenizerFast | None = None) -> Progress:
    """Train a model into `out`, or go on with one that was interrupted; learns a tokenizer if none is given."""
    tokenizer = tokenizer or build_tokenizer(
        islice(documents(recipe.seed), recipe.tokenizer_documents),
        vocab_size=VOCAB_SIZE,
        model_max_length=CONTEXT_LENGTH,
    )
    return Run(recipe, out, tokenizer).finish()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the embedded model of Millrace from nothing.")
    parser.add_argument("--out", type=Path, required=True, help="directory for the model; an interrupted run goes on")
    parser.add_argument("--steps", type=int, default=16_000, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the text")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--tokenizer", type=Path, help="directory of a tokenizer to use instead of learning one")
    parser.add_argument("--start", type=Path, help="directory of a model to go on from, more gently, on new text")
    parser.add_argument("--smoke", action="store_true", help="a tiny run that only shows that everything works")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(steps=options.steps, seed=options.seed, device=options.device)
    if options.start:
        recipe = replace(recipe, start=str(options.start), peak_learning_rate=3e-4, copying_steps=0)
    if options.smoke:
        recipe = replace(recipe, hidden_size=128, num_layers=2, compiled=False, tokenizer_documents=4000)
        recipe = replace(recipe, steps=10, interval=5, copying_steps=5)
    known = options.tokenizer or options.start
    tokenizer = AutoTokenizer.from_pretrained(known) if known else None
    print(f"final loss {train(recipe, options.out, tokenizer).recent_loss(100):.3f}")
    for question, reply in answers(options.out, QUESTIONS):
        print(f"> {question}\n{reply}\n")


if __name__ == "__main__":
    main()
