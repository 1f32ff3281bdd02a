"""What a reply consists of, and what everything that reads replies offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Schema = Mapping[str, Any]
"""A JSON schema that is an object."""

Tools = Mapping[str, Schema]
"""The tools that may be called: the schema of the parameters by name. A schema may be empty."""


class Content(NamedTuple):
    text: str


class Reasoning(NamedTuple):
    text: str


class CallBegins(NamedTuple):
    name: str


class CallArguments(NamedTuple):
    """The next piece of the JSON text of the last call's arguments."""

    text: str


Part = Content | Reasoning | CallBegins | CallArguments


class Reader(Protocol):
    """Parses one reply incrementally. Text is held back only until it is clear which part it belongs to.

    White space between parts belongs to none of them. A tool call must name one of the offered tools; markup that turns
    out to be no such call becomes content, unchanged. A call within reasoning is reasoning.

    The arguments of a call are passed on as they arrive and cannot be taken back. If they turn out not to be complete,
    `has_broken_call` is set: they must not be used, and what follows is content.
    """

    has_broken_call: bool

    def feed(self, text: str) -> list[Part]:
        """Add the next text of the reply. Returns the parts that it completes or continues."""

    def finish(self, *, was_cut: bool = False) -> list[Part]:
        """End the reply. Returns what was held back, as what it looks like so far. If the reply `was_cut` (by its
        length) within the head of a call, that head is dropped.
        """
