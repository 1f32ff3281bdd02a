"""What becomes of one model type on a real start: served with these tokens, or refused with this reason.

`python -m tests.census.run TYPE ...` writes a line of JSON for each type.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from app.config import Config
from app.engine.core import EngineCore
from app.engine.startup import CannotServe, start_engine
from app.messages import Generate, SamplingParams
from tests.census.checkpoints import any_config, auto_class, reads_images, save_checkpoint
from tests.census.outcome import Outcome, Verdict
from tests.census.sizes import VOCAB_SIZE

MAX_TOKENS = 8
BUDGET = 11
"""Tokens of a step, so that prompts are computed in several chunks, beside each other."""

ENGINES_AT_ONCE = 20
"""In memory, before those that are done with are looked for: looking takes longer than a small model's tokens."""

TOLERANCE = 1e-3
"""Of logprobs of chosen tokens, in float32; what is wrong differs by a hundred times as much."""


def outcome_of(name: str, directory: Path) -> Outcome:
    """Start the engine on a checkpoint of this type and compare it with `generate`."""
    if reads_images(name) and (refused := _refused_by_configuration(name, directory)):
        return refused
    try:
        save_checkpoint(name, directory)
    except Exception as error:  # a type may refuse its sizes in any way
        return _refused_by_configuration(name, directory) or Outcome("not built", _named(error))
    try:
        core, ready = start_engine(_config(directory), lambda _: None)
    except CannotServe as error:
        return Outcome("refused", str(error))
    prompts = _prompts()
    chosen, logprobs = _serve(core, prompts)
    expected, logits = _generate(name, directory, prompts)
    distinct = len({token for tokens in expected for token in tokens})
    difference = max(
        abs(logprob - row.log_softmax(-1)[token].item())
        for tokens, rows, given in zip(chosen, logits, logprobs, strict=True)
        for token, row, logprob in zip(tokens, rows, given, strict=True)
    )
    wrong = "" if chosen == expected else f"{chosen} instead of {expected}"
    verdict: Verdict = "wrong" if wrong or difference > TOLERANCE else "equal"
    return Outcome(verdict, wrong, ready.backend, difference, distinct)


def _refused_by_configuration(name: str, directory: Path) -> Outcome | None:
    """The refusal, if a configuration is all that it takes: models that read images have large weights however small
    their layers, and some types cannot be built."""
    config = any_config(name)
    if config is None:
        return None
    config.save_pretrained(directory)
    weights = directory / "model.safetensors"
    save_file({"nothing": torch.zeros(1)}, weights, {"format": "pt"})
    try:
        start_engine(_config(directory), lambda _: None)
    except CannotServe as error:
        return Outcome("refused", str(error)) if str(error).startswith("models of type") else None
    finally:
        weights.unlink()
    return None


def _config(directory: Path) -> Config:
    return Config(
        model=str(directory),
        dtype="float32",
        device="cpu",
        threads=1,
        kv_cache_memory="8MiB",
        max_num_seqs=5,
        max_num_batched_tokens=BUDGET,
    )


def _prompts() -> list[tuple[int, ...]]:
    """Of several lengths, shorter and longer than windows, one of them a prefix of another."""
    rng = random.Random(1)
    short, middle, long = (tuple(rng.randrange(3, VOCAB_SIZE) for _ in range(length)) for length in (5, 23, 70))
    return [short, middle, long, (*middle, 7)]


def _serve(core: EngineCore, prompts: Sequence[tuple[int, ...]]) -> tuple[list[list[int]], list[list[float]]]:
    """All prompts together: the tokens of each, and their logprobs."""
    for index, prompt in enumerate(prompts):
        core.apply(Generate(index, prompt, SamplingParams(MAX_TOKENS, temperature=0.0, logprobs=0)))
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    while core.has_work:
        step = core.step()
        for row, (index, token) in enumerate(zip(step.seq_ids, step.token_ids, strict=True)):
            tokens[index].append(token)
            logprobs[index].append(step.logprobs[row].logprob)
    return tokens, logprobs


def _generate(
    name: str, directory: Path, prompts: Sequence[tuple[int, ...]]
) -> tuple[list[list[int]], list[tuple[torch.Tensor, ...]]]:
    """What transformers gives, each prompt alone: tokens, and logits of each."""
    model = auto_class(name).from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    model.generation_config.eos_token_id = None
    tokens, logits = [], []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens.append(output.sequences[0, len(prompt) :].tolist())
        logits.append(tuple(row[0].float() for row in output.logits))
    return tokens, logits


def _named(error: Exception) -> str:
    where = [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1]
    return f"{type(error).__name__} in {where}: {error}"


def main(names: Sequence[str]) -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for number, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as directory:
            try:
                outcome = outcome_of(name, Path(directory))
            except Exception as error:  # what a user would see as a crash
                outcome = Outcome("crash", _named(error))
        print(json.dumps(asdict(outcome)), flush=True)
        if number % ENGINES_AT_ONCE == 0:
            gc.unfreeze()  # a start freezes all that there is, since there is one engine in a process
            gc.collect()


if __name__ == "__main__":
    main(sys.argv[1:])
