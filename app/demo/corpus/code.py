"""Python functions as plain text and as answers in a chat."""

import random

from app.demo.corpus.code_samples import SAMPLES, CodeSample
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, pick, scruffy

_WISHES = (
    "Write a [Python |]function that returns {returns}.",
    "[Write|Show me|Give me] a [Python |]function [for|that gives] {returns}.",
    "[Can you write|Please write] a Python function that returns {returns}?",
    "How do I [compute|get] {returns} in Python?",
    "Python function: {returns}",
    "Write a [Python |]function [called|named] {name} that returns {returns}.",
    "Write {name} in Python.",
    "Write a [Python |]function to {action}.",
)
_INTRODUCTIONS = ("Here is a function that returns {returns}:", "This function returns {returns}:")


def source(rng: random.Random, sample: CodeSample, name: str) -> str:
    """The function under one of its names, with or without annotations and a docstring."""
    annotated, documented = rng.random() < 0.5, rng.random() < 0.5
    parameters, body = [], sample.body
    for place, (names, annotation) in enumerate(sample.parameters, start=1):
        chosen = rng.choice(names)
        parameters.append(f"{chosen}: {annotation}" if annotated else chosen)
        body = body.replace(f"${place}", chosen)
    result = f" -> {sample.annotation}" if annotated else ""
    lines = [f"def {name}({', '.join(parameters)}){result}:"]
    if documented:
        lines.append(f'    """Return {sample.returns}."""')
    lines.extend("    " + line for line in body.split("\n"))
    return "\n".join(lines)


def module(rng: random.Random) -> str:
    """One to four functions, as plain text."""
    chosen = rng.sample(SAMPLES, rng.randint(1, 4))
    return "\n\n\n".join(source(rng, sample, rng.choice(sample.names)) for sample in chosen) + "\n"


def code_exchange(rng: random.Random) -> list[Exchange]:
    """A wish for a function, and the function in a fenced block."""
    sample = rng.choice(SAMPLES)
    name = rng.choice(sample.names)
    slots = {"returns": sample.returns, "name": name, "action": name.replace("_", " ")}
    wish = scruffy(rng, capitalized(pick(rng, _WISHES, slots)))
    introduction = pick(rng, _INTRODUCTIONS, slots)
    return [Exchange(wish, f"{introduction}\n\n```python\n{source(rng, sample, name)}\n```")]
