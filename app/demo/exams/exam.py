"""An exam, and a question of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from app.demo.corpus.document import Chat, PlainText


@dataclass(frozen=True)
class Question:
    """A chat that ends with the user's or a tool's message, or a text to continue, and who judges the reply.

    `right` gets the reply as the server would show it: without special tokens, with the markup of thought and tools.
    """

    document: Chat | PlainText
    right: Callable[[str], bool]


@dataclass(frozen=True)
class Exam:
    """Questions of one kind, without end, and the share of right answers that is wanted of greedy decoding."""

    name: str
    wanted: float
    ask: Callable[[random.Random], Question]


def asked(kind: str, user: str) -> Chat:
    """A chat of one message."""
    return Chat(kind, ({"role": "user", "content": user},))
