"""The model card: what a reader should know before trusting the embedded model."""

import platform
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from app.demo.checkpoint import Progress
from app.demo.recipe import OPTIONS, Recipe, recipe_for

_RESULTS = "## Evaluation\n"
TEMPLATE = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The embedded model of Millrace

A tiny language model that lets the server answer without a download. It chats about text generation and Millrace, does
sums and other small tasks, tells short stories, writes simple Python functions, fills in JSON, calls tools, thinks when
asked to, and greets in several languages.

| | |
|---|---|
| architecture | Llama, {parameters:,} parameters, tied embeddings, {layers} layers of width {width} |
| attention | {heads} query heads, {key_value_heads} key-value heads, rotary base {rope_theta:,.0f} |
| tokenizer | byte-level BPE, {vocab_size} entries, digits one by one |
| context | {context} tokens |
| stored as | bfloat16 safetensors |
| steps | {steps:,} of {tokens_per_step:,} tokens, {tokens:,} tokens in all{unfinished} |
| optimizer | AdamW, weights in float32, arithmetic in bfloat16, peak learning rate {learning_rate}, warm-up, cosine |
| seed | {seed} |
| time | {time}, {speed:,.0f} tokens per second |
| hardware | {hardware} |
| loss | {loss:.3f} nats per learned token, mean of the last {recent} steps, on text drawn fresh |

## Data

All text comes from the grammars, templates and simulators in `app/demo/corpus`, drawn from one seed. Nothing was
downloaded, and no other model wrote any of it. In chats only the answers are learned. `python -m app.demo.corpus` shows
the shares of its kinds and an example of each. {corpora}

## Use

The chat template takes `tools` and messages with `tool_calls`, and `enable_thinking`: with true the prompt itself opens
`<think>`, with false it holds an empty block, so that the model answers at once; without it the model thinks where the
question asks for it. `generation_config.json` holds the sampling that suits it: {sampling}.

{results}
## Limits

It knows only the small world of its templates, mostly in English. Outside of it the model says that it does not know,
or is wrong. It follows no instructions beyond those it was shown, and is meant for trying out a server, not for advice.

## Making it again

```
{command}
```

The same command, text and device give the same loss at every step, interrupted or not, however many processes prepare
the text. `python -m app.demo.evaluate DIRECTORY --card` puts the table of its results into the card.
"""
"""The paragraphs without placeholders appear unchanged in every card."""


def card(model: LlamaForCausalLM, recipe: Recipe, progress: Progress) -> str:
    """The card in Markdown, for a run that may still be in progress."""
    config, generation = model.config, model.generation_config
    recent = max(1, progress.step // 50)
    return TEMPLATE.format(
        parameters=model.num_parameters(),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        rope_theta=config.rope_parameters["rope_theta"],
        vocab_size=config.vocab_size,
        context=config.max_position_embeddings,
        steps=progress.step,
        unfinished="" if progress.step == recipe.steps else f"; unfinished, of {recipe.steps:,}",
        tokens_per_step=recipe.tokens_per_step,
        tokens=progress.step * recipe.tokens_per_step,
        learning_rate=recipe.peak_learning_rate,
        seed=recipe.seed,
        time=duration(progress.seconds),
        speed=progress.step * recipe.tokens_per_step / progress.seconds,
        hardware=_hardware(recipe),
        command=_command(recipe),
        loss=progress.recent_loss(recent),
        recent=recent,
        corpora=_corpora(progress),
        sampling=f"temperature {generation.temperature}, top-p {generation.top_p}",
        results=_RESULTS,
    )


def duration(seconds: float) -> str:
    """A duration in words, in a unit in which it is neither a fraction nor a large number."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _corpora(progress: Progress) -> str:
    versions = [f"`{digest}` from step {step}" for step, digest in progress.corpora]
    return f"Its sources, as digests: {', '.join(versions)}."


def _hardware(recipe: Recipe) -> str:
    if recipe.on_gpu:
        return f"one {torch.cuda.get_device_name()}; text by {_processor()}"
    return f"{_processor()}, threads: {torch.get_num_threads()}"


def _command(recipe: Recipe) -> str:
    """The command line that repeats the run."""
    words = ["python -m app.demo.train --out app/demo/model", f"--steps {recipe.steps} --seed {recipe.seed}"]
    words.append(f"--device {recipe.device}" if recipe.on_gpu else f"--threads {torch.get_num_threads()}")
    usual = recipe_for(recipe.device, steps=recipe.steps, seed=recipe.seed)
    for name, option in OPTIONS.items():
        if getattr(recipe, name) != getattr(usual, name):
            words.append(f"{option} {getattr(recipe, name)}")
    return " ".join(words)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def put_results(directory: Path, results: str) -> None:
    """Replace the evaluation results of the card in `directory`. Raises ValueError if it has no section for them."""
    path = directory / "README.md"
    before, found, rest = path.read_text(encoding="utf-8").partition(_RESULTS)
    if not found:
        raise ValueError(f"{path} has no section for the results: it is not a card that train.py wrote")
    after = rest[rest.index("## Limits") :]
    path.write_text(f"{before}{_RESULTS}\n{results}\n\n{after}", encoding="utf-8")
