"""Exams and their questions."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from app.demo.corpus.document import Chat, PlainText


@dataclass(frozen=True)
class Question:
    """A chat that ends with a message of the user or a tool, or a text to continue, and the check of the reply.

    `right` is given the reply as the server would show it: without special tokens, but with the markup of reasoning and
    tool calls.
    """

    document: Chat | PlainText
    right: Callable[[str], bool]


@dataclass(frozen=True)
class Exam:
    """An endless supply of questions of one kind, and the share of right answers required of greedy decoding."""

    name: str
    wanted: float
    ask: Callable[[random.Random], Question]


def asked(kind: str, user: str) -> Chat:
    """A chat with a single message."""
    return Chat(kind, ({"role": "user", "content": user},))
