"""Train the embedded model from nothing: `python -m app.demo.train --out app/demo/model --steps 3000`."""

import argparse
import math
import platform
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from app.demo.answer import QUESTIONS, answers
from app.demo.card import Facts, card
from app.demo.corpus import documents
from app.demo.network import CONTEXT_LENGTH, VOCAB_SIZE, build_network
from app.demo.packing import Packer
from app.demo.tokenizer import build_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out, apart from the code."""

    steps: int
    seed: int
    device: str
    tokens_per_step: int = 1024
    peak_learning_rate: float = 2e-3
    tokenizer_documents: int = 30_000
    hidden_size: int = 192
    num_layers: int = 6


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up over the first twentieth, then a cosine down to a hundredth of the peak."""
    warmup = max(1, recipe.steps // 20)
    if step < warmup:
        return recipe.peak_learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, recipe.steps - warmup)
    return recipe.peak_learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def row_length(recipe: Recipe, step: int) -> int:
    """Short rows first, because they are faster; the last fifth sees the whole context length."""
    return CONTEXT_LENGTH // 2 if step < recipe.steps * 0.8 else CONTEXT_LENGTH


def fit(model: LlamaForCausalLM, packer: Packer, recipe: Recipe) -> float:
    """Run all steps; returns the mean loss of the last twentieth of them."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    losses: list[float] = []
    model.train()
    with tqdm(total=recipe.steps, desc="training", unit="step", mininterval=1) as bar:
        for step in range(recipe.steps):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step)
            length = row_length(recipe, step)
            batch = packer.batch(recipe.tokens_per_step // length, length)
            tensors = {name: tensor.to(recipe.device) for name, tensor in batch._asdict().items()}
            loss = model(**tensors, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            speed = recipe.tokens_per_step / (time.perf_counter() - started)
            recent = losses[-50:]
            bar.set_postfix(loss=f"{sum(recent) / len(recent):.3f}", tokens_per_second=f"{speed:.0f}", refresh=False)
            bar.update()
    last = losses[-max(1, recipe.steps // 20) :]
    return sum(last) / len(last)


def _facts(model: LlamaForCausalLM, recipe: Recipe, loss: float, seconds: float) -> Facts:
    if recipe.device.startswith("cuda"):
        hardware = torch.cuda.get_device_name()
    else:
        hardware = f"{platform.machine()} CPU, threads: {torch.get_num_threads()}"
    config = model.config
    return Facts(
        parameters=model.num_parameters(),
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        vocab_size=config.vocab_size,
        context=config.max_position_embeddings,
        steps=recipe.steps,
        tokens_per_step=recipe.tokens_per_step,
        tokens=recipe.steps * recipe.tokens_per_step,
        learning_rate=recipe.peak_learning_rate,
        seed=recipe.seed,
        minutes=seconds / 60,
        hardware=hardware,
        loss=loss,
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Facts, out: Path) -> None:
    """Write everything beside `out` first and then move file by file, so that no file is ever half there."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as staging:
        model.bfloat16().save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        (Path(staging) / "README.md").write_text(card(facts), encoding="utf-8")
        for file in sorted(Path(staging).iterdir()):
            # Weights are written for their owner alone, but a container may run as somebody else.
            file.chmod(0o644)
            file.replace(out / file.name)


def train(recipe: Recipe, out: Path) -> float:
    """Build, fit and save a model; returns its final loss."""
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(
        islice(documents(recipe.seed), recipe.tokenizer_documents),
        vocab_size=VOCAB_SIZE,
        model_max_length=CONTEXT_LENGTH,
    )
    with torch.device(recipe.device):
        model = build_network(tokenizer, hidden_size=recipe.hidden_size, num_layers=recipe.num_layers)
    loss = fit(model, Packer(documents(recipe.seed), tokenizer), recipe)
    save(model, tokenizer, _facts(model, recipe, loss, time.perf_counter() - started), out)
    return loss


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the embedded model of Millrace from nothing.")
    parser.add_argument("--out", type=Path, required=True, help="directory for the model")
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the text")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--smoke", action="store_true", help="a tiny run that only shows that everything works")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(steps=options.steps, seed=options.seed, device=options.device)
    if options.smoke:
        recipe = replace(recipe, steps=10, tokenizer_documents=4000, hidden_size=96, num_layers=2)
    print(f"final loss {train(recipe, options.out):.3f}")
    for question, reply in answers(options.out, QUESTIONS):
        print(f"> {question}\n{reply}\n")


if __name__ == "__main__":
    main()
