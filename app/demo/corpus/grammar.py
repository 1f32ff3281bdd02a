"""A small grammar for text: `[one|two]` is a choice, `{name}` a slot."""

import random
import re
from collections.abc import Mapping, Sequence

_INNERMOST_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SYLLABLES = ("bla", "zor", "mi", "kru", "pel", "fan", "tos", "wi", "gro", "nix", "lu", "dra", "que", "vo", "st", "ack")
_SLOT = re.compile(r"\{(\w+)\}")


def expand(rng: random.Random, template: str, slots: Mapping[str, str] | None = None) -> str:
    """One text of the template: choices made from the inside out, then the slots filled."""
    while match := _INNERMOST_CHOICE.search(template):
        chosen = rng.choice(match[1].split("|"))
        template = template[: match.start()] + chosen + template[match.end() :]
    filled = slots or {}
    return _SLOT.sub(lambda slot: filled[slot[1]], template)


def pick(rng: random.Random, templates: Sequence[str], slots: Mapping[str, str] | None = None) -> str:
    """One text of one of the templates."""
    return expand(rng, rng.choice(templates), slots)


def capitalized(text: str) -> str:
    """The text with its first letter large and the others as they were."""
    return text[:1].upper() + text[1:]


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def scruffy(rng: random.Random, text: str) -> str:
    """The text as people type it: now and then without capitals, without a last mark, or with a slip."""
    if rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    if rng.random() < 0.06 and len(text) > 8:
        at = rng.randrange(2, len(text) - 2)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def made_up_word(rng: random.Random) -> str:
    """A word that means nothing."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 4)))
