"""Vocabularies and grammars for the tests of constraints."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from app.constraints.check import check
from app.constraints.grammars import Grammar
from app.constraints.matcher import Matcher
from app.constraints.tokens import TokenTable
from app.messages import Constraint, ConstraintKind
from tests.test_tokenizer import ROOT

EMBEDDED = ROOT / "app" / "demo" / "model" / "tokenizer.json"


@cache
def backend() -> Backend:
    return Backend.from_file(str(EMBEDDED))


@cache
def embedded_table() -> TokenTable:
    """The embedded model's vocabulary, with a few logits more than it has tokens."""
    return table_of(backend(), backend().get_vocab_size() + 3)


def table_of(backend: Backend, num_logits: int) -> TokenTable:
    return TokenTable(Backend.from_str(backend.to_str()), num_logits)


def encode(text: str) -> list[int]:
    ids: list[int] = backend().encode(text, add_special_tokens=False).ids
    return ids


@cache
def tokens_by_bytes(table: TokenTable) -> dict[bytes, list[int]]:
    found = defaultdict(list)
    for token_id in range(table.num_logits):
        if data := bytes_of(table, token_id):
            found[data].append(token_id)
    return dict(found)


def bytes_of(table: TokenTable, token_id: int) -> bytes:
    """Empty for special tokens and for those without text, which decoding would show as `<[187]>`."""
    data = table.tokenizer.decode_bytes([token_id])
    return b"" if table.tokenizer.is_special_token(token_id) or data == f"<[{token_id}]>".encode() else data


def cut(table: TokenTable, text: str, rng: random.Random) -> list[int]:
    """The text as tokens that are cut anywhere."""
    data, known, token_ids, at = text.encode(), tokens_by_bytes(table), [], 0
    while at < len(data):
        ends = [end for end in range(at + 1, min(at + 20, len(data)) + 1) if data[at:end] in known]
        end = rng.choice(ends)
        token_ids.append(rng.choice(known[data[at:end]]))
        at = end
    return token_ids


def json_schema(schema: object, *, strict: bool = True) -> Constraint:
    return Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema), strict)


def grammar(constraint: Constraint, table: TokenTable | None = None) -> Grammar:
    return Grammar(check(constraint), table or embedded_table())


def accepts(constraint: Constraint, *texts: str) -> list[bool]:
    """Of each text, whether it is a whole answer."""
    compiled = grammar(constraint)
    return [_is_whole(compiled.matcher(()), encode(text)) for text in texts]


def _is_whole(matcher: Matcher, token_ids: list[int]) -> bool:
    if matcher.verify(token_ids) < len(token_ids):
        return False
    matcher.advance(token_ids)
    return matcher.is_accepting


def allowed(mask: NDArray[np.int32]) -> set[int]:
    """The tokens whose bits are set."""
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())
