"""The model card: what a reader should know before trusting the embedded model."""

from dataclasses import dataclass

_CARD = """---
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The embedded model of Millrace

A tiny language model that lets the server answer without a download. It chats about text generation and Millrace,
tells short stories, does small sums, writes simple Python functions and greets in several languages.

| | |
|---|---|
| architecture | Llama, {parameters:,} parameters, tied embeddings, {layers} layers of width {hidden_size} |
| attention | {heads} query heads, {key_value_heads} key-value heads |
| tokenizer | byte-level BPE, {vocab_size} entries, digits one by one |
| context | {context} tokens |
| stored as | bfloat16 safetensors |
| steps | {steps} of {tokens_per_step} tokens, {tokens:,} tokens in all |
| optimizer | AdamW in float32, peak learning rate {learning_rate}, warm-up and cosine |
| seed | {seed} |
| time | {minutes:.0f} minutes |
| hardware | {hardware} |
| final loss | {loss:.3f} nats per learned token, mean of the last steps, on text drawn fresh |

## Data

All text comes from the grammars, templates and simulators in `app/demo/corpus`, drawn from one seed. Nothing was
downloaded, and no other model wrote any of it. In chats only the answers are learned.

## Limits

It knows only the small world of its templates, in English. Outside of it the model says that it does not know, or is
wrong. Sums are learned up to 20 plus 20 and 10 times 10. It follows no instructions beyond those it was shown, and is
meant for trying out a server, not for advice.

## Making it again

```
python -m app.demo.train --out app/demo/model --steps {steps} --seed {seed}
```
"""


@dataclass(frozen=True)
class Facts:
    """What the card tells about one training run."""

    parameters: int
    layers: int
    hidden_size: int
    heads: int
    key_value_heads: int
    vocab_size: int
    context: int
    steps: int
    tokens_per_step: int
    tokens: int
    learning_rate: float
    seed: int
    minutes: float
    hardware: str
    loss: float


def card(facts: Facts) -> str:
    """The card in Markdown."""
    return _CARD.format(**vars(facts))
