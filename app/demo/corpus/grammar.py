"""A small grammar for text: `[one|two]` is a choice, `{name}` a slot."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import TypeAlias

_PIECE = re.compile(r"[\[\]|]|\{\w+\}|[^\[\]|{}]+")
_SYLLABLES = ("bla", "zor", "mi", "kru", "pel", "fan", "tos", "wi", "gro", "nix", "lu", "dra", "que", "vo", "st", "ack")

Parsed: TypeAlias = "tuple[str | tuple[Parsed, ...], ...]"
"""Texts, slots in braces, and choices of such rows."""


def expand(rng: random.Random, template: str, slots: Mapping[str, str] | None = None) -> str:
    """One text of the template."""
    return "".join(_pieces(rng, _parsed(template), slots or {}))


def _pieces(rng: random.Random, sequence: Parsed, slots: Mapping[str, str]) -> list[str]:
    texts: list[str] = []
    for piece in sequence:
        if isinstance(piece, tuple):
            texts += _pieces(rng, piece[int(rng.random() * len(piece))], slots)
        elif piece[0] == "{":
            texts.append(slots[piece[1:-1]])
        else:
            texts.append(piece)
    return texts


@cache
def _parsed(template: str) -> Parsed:
    tokens = _PIECE.findall(template)

    def sequence(at: int) -> tuple[Parsed, int]:
        pieces: list[str | tuple[Parsed, ...]] = []
        while at < len(tokens) and tokens[at] not in "|]":
            if tokens[at] == "[":
                choices = []
                while tokens[at] != "]":
                    choice, at = sequence(at + 1)
                    choices.append(choice)
                pieces.append(tuple(choices))
            else:
                pieces.append(tokens[at])
            at += 1
        return tuple(pieces), at

    return sequence(0)[0]


@cache
def every(template: str) -> tuple[str, ...]:
    """All texts of the template, with its slots left as they are."""

    def texts(sequence: Parsed) -> list[str]:
        options = [[text for choice in piece for text in texts(choice)] if isinstance(piece, tuple) else [piece]
                   for piece in sequence]  # fmt: skip
        return ["".join(chosen) for chosen in product(*options)]

    return tuple(dict.fromkeys(texts(_parsed(template))))


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
    """The text as people type it: now and then without capitals, without a last mark, or with two letters swapped."""
    if rng.random() < 0.35:
        text = text.lower()
    text = unmarked(rng, text)
    if rng.random() < 0.06 and len(text) > 8:
        at = rng.randrange(2, len(text) - 2)
        if text[at : at + 2].isalpha():
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def unmarked(rng: random.Random, text: str) -> str:
    """The text, now and then without its last mark; its words stay as they are, so that they can be repeated."""
    return text.rstrip("?.!") if rng.random() < 0.25 else text


def made_up_word(rng: random.Random) -> str:
    """A word that means nothing."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 4)))
