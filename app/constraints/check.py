"""At the door: whether a constraint can be enforced, and if not, what is at fault, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from llguidance import LLMatcher, LLTokenizer

from app.constraints.build import build
from app.constraints.compile import compile_constraint
from app.constraints.errors import ConstraintError
from app.constraints.json_grammar import read_schema_text
from app.constraints.tokens import as_tokenizer
from app.messages import Constraint, ConstraintKind


def check(constraint: Constraint, special_tokens: Mapping[str, int] | None = None) -> Constraint:
    """Returns the constraint compiled, if it can be enforced whole and something can satisfy it.

    Raises ConstraintError. Takes milliseconds for usual constraints and some seconds at worst, nearly all of them
    without holding the interpreter's lock: to be called in a thread.
    """
    compiled = compile_constraint(constraint, special_tokens)
    tokens = _byte_tokens(frozenset((special_tokens or {}).items()))
    matcher = build(tokens, compiled.text)
    _try(matcher, first_byte=tokens.vocab_size - 257)
    if matcher.is_error():
        raise _explained(matcher.get_error(), constraint)
    return compiled


def _try(matcher: LLMatcher, first_byte: int) -> None:
    """Follow the grammar for some bytes, of which there may be none, and which may show it to be too complex."""
    for _ in range(_NUM_TRIED):
        mask = int.from_bytes(matcher.compute_bitmask(), "little") >> first_byte
        allowed = [byte for byte in range(256) if mask >> byte & 1]
        if matcher.is_error() or not allowed:
            return
        matcher.consume_token(first_byte + min(allowed, key=lambda byte: (byte <= _SPACE, byte)))


_NUM_TRIED = 16
_SPACE = 0x20


@cache
def _byte_tokens(special_tokens: frozenset[tuple[str, int]]) -> LLTokenizer:
    """A vocabulary of the 256 bytes, which come behind the special tokens: no grammar asks for more."""
    tokens = [b""] * (1 + max((token_id for _, token_id in special_tokens), default=-1))
    for name, token_id in special_tokens:
        tokens[token_id] = name.encode()
    first = len(tokens)
    tokens += [*(bytes([byte]) for byte in range(256)), b""]
    special_token_ids = [token_id for _, token_id in special_tokens]
    return LLTokenizer(as_tokenizer(tokens, special_token_ids, lambda text: [first + byte for byte in text.encode()]))


class _Fault(NamedTuple):
    """Which keywords are at fault, and why, where a message of llguidance matches. `{0}` is what its group caught."""

    message: str
    keywords: tuple[str, ...]
    reason: str


_PATTERNS = ("pattern", "patternProperties")
_FAULTS = (
    _Fault("oneOf constraints", ("oneOf",), "its schemas cannot be shown to exclude each other; `anyOf` can be"),
    _Fault("min/maxProperties only", ("minProperties", "maxProperties"), "with optional properties it cannot be"),
    _Fault("are not disjoint|are disjoint", ("patternProperties",), "its patterns must exclude each other"),
    _Fault("look-?around", _PATTERNS, r"look-around (`(?=`, `(?!`, `\b`) is not supported"),
    _Fault("backreferences", _PATTERNS, "backreferences are not supported"),
    _Fault("regex parse error(?s:.*)error: ([^\n]*)", _PATTERNS, "{0}"),
    _Fault("invalid regex", _PATTERNS, "it is not a regular expression that is supported"),
    _Fault("circular references", ("$ref",), "a circle of references with other keywords beside them"),
    _Fault(
        "Failed to generate regex for|multipleOf|relevance", ("multipleOf", "minimum", "maximum"), "too many digits"
    ),
    _Fault("Invalid type: (.*)", ("type",), "{0} is not a type"),
)
_WRONG_TYPE = re.compile(r"(?:for|of) '([^']+)'|^([$\w]+) must be")
_TOO_COMPLEX = re.compile("fuel|too (?:big|large|complex|many)|level exceeded|limit|LexerTooComplex|ParserTooComplex")


def _explained(message: str, constraint: Constraint) -> ConstraintError:
    text = message.split("\n<")[0].strip()
    if text.startswith("NoExtension") or "Unsatisfiable" in text:
        detail = text.split("Unsatisfiable schema: ")[-1].splitlines()[0]
        because = f": {detail}" if "Unsatisfiable" in text else ""
        return ConstraintError(f"Nothing can satisfy the constraint{because}.")
    fault = next((fault for fault in _FAULTS if re.search(fault.message, text)), None)
    if fault is None and (wrong := _WRONG_TYPE.search(text)):
        fault = _Fault(_WRONG_TYPE.pattern, (wrong[1] or wrong[2],), "its value is not of the type that it must have")
    if (
        fault is not None
        and constraint.kind is ConstraintKind.JSON_SCHEMA
        and (places := _places(constraint, fault, text))
    ):
        found = re.search(fault.message, text)
        reason = fault.reason.format(*(found.groups() if found else ()))
        shown = ", ".join(pointer for _, pointer, _ in places[:3]) + (", …" if len(places) > 3 else "")
        keyword, pointer, _ = places[0]
        return ConstraintError(f"{shown}: `{keyword}` cannot be enforced: {reason}.", keyword=keyword, pointer=pointer)
    if _TOO_COMPLEX.search(text):
        return ConstraintError(f"The constraint is too complex: {text.splitlines()[0]}.")
    return ConstraintError(f"The constraint cannot be used: {_detail(text)}.", keyword=constraint.kind)


def _places(constraint: Constraint, fault: _Fault, message: str) -> list[tuple[str, str, Any]]:
    """Keyword, place and value of all that may be at fault; only those that the message quotes, if it does."""
    places = read_schema_text(constraint.text, strict=constraint.strict).places
    found = [(keyword, pointer, value) for keyword in fault.keywords for pointer, value in places[keyword]]
    lengths = [_num_quoted(value, message) for _, _, value in found]
    longest = max(lengths, default=0)
    return [place for place, length in zip(found, lengths, strict=True) if length == longest]


def _num_quoted(value: object, message: str) -> int:
    """Characters of the value, or of its longest key, that the message quotes."""
    values = value if isinstance(value, dict) else [value]
    return max((len(item) for item in values if isinstance(item, str) and item in message), default=0)


def _detail(text: str) -> str:
    """The line that says most: what follows `error:`, or the first."""
    found = re.search(r"error: ([^\n]*)", text)
    return (found[1] if found else text.splitlines()[0]).rstrip(".")
