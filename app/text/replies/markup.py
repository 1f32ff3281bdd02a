"""The text between which names and arguments stand, in tokens, so that it is recognised however it is spaced."""

from __future__ import annotations

import re
from collections.abc import Sequence

ID, NUMBER = "\ue000", "\ue001"
"""In a text of markup: an id of the call (nine letters or digits), and the number of the call or of its id."""

MORE, NO = -1, -2
"""Instead of a position: it cannot be known yet, and it is not there."""

_TOKEN = re.compile(
    rf"""\s+ | <[^<>\s]*>? | \[/?[A-Z][A-Z_]*\] | [{ID}{NUMBER}] | ```\w* | [^<\s\[\](){{}},"'`{ID}{NUMBER}]+ | .""",
    re.VERBOSE | re.DOTALL,
)
_GAP = re.compile(r"[\w-]*")


def tokens_of(text: str) -> list[str]:
    """The tokens of a text of markup, which joined are the text: tags, words, single brackets and quotes, spaces."""
    return _TOKEN.findall(text)


def marks_of(text: str) -> tuple[str, ...]:
    """The tokens without white space."""
    return tuple(token for token in tokens_of(text) if not token.isspace())


def is_tag(token: str) -> bool:
    return len(token) > 3 and token[0] in "<["


def skip_spaces(text: str, at: int = 0) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def skip(text: str, marks: Sequence[str], at: int = 0) -> int:
    """The position behind the marks, if they come next with any white space before and between them; MORE or NO."""
    for mark in marks:
        at = skip_spaces(text, at)
        if mark in (ID, NUMBER):
            found = _GAP.match(text, at)
            assert found is not None
            at = found.end()
            if at == len(text):
                return MORE
        elif text.startswith(mark, at):
            at += len(mark)
        else:
            return MORE if mark.startswith(text[at:]) else NO
    return at


def skip_any(text: str, marks: Sequence[str], at: int = 0) -> int:
    """The position behind those of the marks that come next, in their order, and behind the white space; MORE."""
    at = skip_spaces(text, at)
    for mark in marks:
        if text.startswith(mark, at):
            at = skip_spaces(text, at + len(mark))
        elif mark.startswith(text[at:]):
            return MORE
    return at


def partial(text: str, mark: str) -> int:
    """How many characters at the end of the text could be the beginning of the mark."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)


def find(text: str, marks: Sequence[str]) -> tuple[int, str]:
    """Where the first of the marks begins in the text, and which it is: the longest, if several begin there.

    Where none is whole, the position from which on the text may still become one (its end, if it cannot), and "".
    """
    position, which = len(text), ""
    for mark in marks:
        at = text.find(mark)
        if at >= 0 and (at < position or (at == position and len(mark) > len(which))):
            position, which = at, mark
    if which:
        return position, which
    return len(text) - max((partial(text, mark) for mark in marks), default=0), ""
