"""Trains the embedded model from scratch: `python -m app.demo.train --out DIRECTORY`."""

import argparse
import os
import tempfile
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from app.demo.answer import QUESTIONS, answers
from app.demo.card import card
from app.demo.checkpoint import Progress, corpus_digest, identity, load_checkpoint, save_checkpoint
from app.demo.corpus import documents
from app.demo.feed import batches
from app.demo.meter import Meter
from app.demo.network import CONTEXT_LENGTH, VOCAB_SIZE, build_network
from app.demo.recipe import OPTIONS, Recipe, recipe_for
from app.demo.step import Stepper, make_repeatable
from app.demo.tokenizer import build_tokenizer


class Run:
    """A run, stored in `out` (the model so far) and `out.checkpoint` (everything else), and resumed from there."""

    def __init__(self, recipe: Recipe, out: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raises AnotherRun if `out` was started with a different recipe or tokenizer."""
        self.recipe = recipe
        self.out = out
        self.checkpoint = out.with_name(out.name + ".checkpoint")
        self.tokenizer = tokenizer
        self.progress = Progress()
        torch.manual_seed(recipe.seed)
        # At these sizes, compiled eager attention is faster on a CPU than the fused kernel.
        attention = "eager" if recipe.compiled else "sdpa"
        size = {"hidden_size": recipe.hidden_size, "num_layers": recipe.num_layers}
        model = build_network(tokenizer, **size, attention=attention)
        if recipe.start is not None:
            model.load_state_dict(LlamaForCausalLM.from_pretrained(recipe.start, dtype=torch.float32).state_dict())
        self.model: LlamaForCausalLM = model.to(recipe.device)
        self.stepper = Stepper(self.model, compiled=recipe.compiled)
        self.identity = identity(recipe, tokenizer)
        if self.checkpoint.exists():
            self.progress, state = load_checkpoint(self.checkpoint, self.identity)
            self.stepper.restore(state)

    def finish(self, workers: int = 0) -> Progress:
        """Take all remaining steps, with text prepared by `workers` other processes, and save regularly."""
        first = self.progress.step
        self.progress.note_corpus(corpus_digest())
        bar = tqdm(initial=first, total=self.recipe.steps, desc="training", unit="step", mininterval=1)
        with closing(batches(self.recipe, self.tokenizer, first, workers)) as text, bar:
            meter = Meter(self.progress, self.recipe.tokens_per_step)
            for step, batch in enumerate(meter.timed(text), start=first):
                meter.add(self.stepper.step(batch, self.recipe.learning_rate(step)))
                saves = self.recipe.saves_after(step)
                if saves or meter.is_due:
                    bar.set_postfix_str(meter.read(), refresh=False)
                bar.update()
                if saves:
                    self._save()
        return self.progress

    def _save(self) -> None:
        save_model(self.model, self.tokenizer, card(self.model, self.recipe, self.progress), self.out)
        save_checkpoint(self.checkpoint, self.identity, self.progress, self.stepper.state())


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, readme: str, out: Path) -> None:
    """Write everything next to `out` first and then move it file by file, so that no file is ever incomplete."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        (Path(staging) / "README.md").write_text(readme, encoding="utf-8")
        for file in sorted(Path(staging).iterdir()):
            # Weights are written readable for their owner only, but a container may run as another user.
            file.chmod(0o644)
            file.replace(out / file.name)


def train(recipe: Recipe, out: Path, tokenizer: PreTrainedTokenizerFast | None = None, workers: int = 0) -> Progress:
    """Train a model into `out`, or resume an interrupted run; trains a tokenizer if none is given."""
    if recipe.on_gpu:
        make_repeatable()
    tokenizer = tokenizer or build_tokenizer(
        islice(documents(recipe.seed), recipe.tokenizer_documents),
        vocab_size=VOCAB_SIZE,
        model_max_length=CONTEXT_LENGTH,
    )
    return Run(recipe, out, tokenizer).finish(workers)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the embedded model of Millrace from scratch.")
    parser.add_argument(
        "--out", type=Path, required=True, help="directory for the model; an interrupted run is resumed"
    )
    parser.add_argument("--steps", type=int, default=16_000, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the text")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu or cuda; decides the recipe")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument(
        "--workers", type=int, help="processes that prepare text [on a GPU: the number of cores minus two]"
    )
    for name, option in OPTIONS.items():
        kind = type(getattr(Recipe(steps=1), name))
        parser.add_argument(option, type=kind, dest=name, help="instead of the value that suits the device")
    parser.add_argument("--tokenizer", type=Path, help="directory of a tokenizer to use instead of training one")
    parser.add_argument("--start", type=Path, help="directory of a model to start from, at a lower rate, on new text")
    parser.add_argument("--smoke", action="store_true", help="a tiny run that only checks that everything works")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = options.tokenizer or options.start
    tokenizer = AutoTokenizer.from_pretrained(known) if known else None
    progress = train(_recipe(options), options.out, tokenizer, _workers(options))
    print(f"final loss {progress.recent_loss(100):.3f} after {progress.seconds:.0f} s")
    for question, reply in answers(options.out, QUESTIONS):
        print(f"> {question}\n{reply}\n")


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = recipe_for(options.device, steps=options.steps, seed=options.seed)
    if options.start:
        recipe = replace(recipe, start=str(options.start), peak_learning_rate=3e-4, copying_steps=0)
    if options.smoke:
        recipe = replace(recipe, hidden_size=128, num_layers=2, compiled=False, tokenizer_documents=4000)
        recipe = replace(recipe, steps=10, interval=5, saved_every=1, copying_steps=5)
    return replace(recipe, **{name: value for name in OPTIONS if (value := getattr(options, name)) is not None})


def _workers(options: argparse.Namespace) -> int:
    if options.workers is not None or not _recipe(options).on_gpu:
        return int(options.workers or 0)
    return max(0, len(os.sched_getaffinity(0)) - 2)


if __name__ == "__main__":
    main()
