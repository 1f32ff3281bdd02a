"""The bytes of each token are what the detokenizer shows of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders

from app.constraints.check import check
from app.constraints.grammars import Grammar
from app.constraints.masks import MaskFiller, MaskRequest
from app.constraints.tokens import TokenTable
from app.messages import Constraint, ConstraintKind
from app.text.pieces import Vocabulary
from tests.constraint_world import EMBEDDED, allowed, bytes_of, embedded_table, table_of
from tests.test_tokenizer import byte_level_backend, sentencepiece_backend, shared_tokenizer, words_backend

BACKENDS: dict[str, Callable[[], Backend]] = {
    "byte level": byte_level_backend,
    "sentencepiece": sentencepiece_backend,
    "metaspace": lambda: words_backend(decoders.Metaspace(), "[UNK] ▁the ▁cat ▁ s ▁▁ ,"),
    "wordpiece": lambda: words_backend(decoders.WordPiece(), "[UNK] the cat ##s , 'm"),
    "embedded": lambda: Backend.from_file(str(EMBEDDED)),
    "gpt2": lambda: shared_tokenizer("tokenizers/gpt2")._backend,
    "pythia": lambda: shared_tokenizer("tokenizers/pythia")._backend,
}


def num_ids(backend: Backend) -> int:
    return max(backend.get_vocab().values()) + 1


def may_begin_any_text(table: TokenTable) -> set[int]:
    matcher = Grammar(check(Constraint(ConstraintKind.REGEX, "(?s:.)*")), table).matcher(())
    masks = np.zeros((1, table.num_words), np.int32)
    MaskFiller(table).fill([MaskRequest(matcher, 0)], masks)
    return allowed(masks[0])


@pytest.mark.parametrize("name", BACKENDS)
def test_each_token_has_the_bytes_that_it_shows(name: str) -> None:
    backend = BACKENDS[name]()
    vocabulary = Vocabulary(backend)
    table = table_of(backend, num_ids(backend))
    pieces = vocabulary.without_special(kept=frozenset())
    shown = [pieces[token_id] or b"" for token_id in range(table.num_logits)]
    wanted = [piece.encode() if isinstance(piece, str) else piece for piece in shown]
    found = [bytes_of(table, token_id) for token_id in range(table.num_logits)]
    assert found == [b"" if data == b"\xff" else data for data in wanted], "all but the byte that is in no text"


@pytest.mark.parametrize("name", ["byte level", "sentencepiece", "embedded"])
@pytest.mark.parametrize("text", ['{"the cat": "Té 好"}', " the </s> <s> <tool>", "a", " ", "<unk><|im_end|>"])
def test_what_is_forced_is_encoded_as_it_stands(name: str, text: str) -> None:
    backend = BACKENDS[name]()
    table = table_of(backend, num_ids(backend))
    token_ids = table.tokenizer.tokenize_str(text)
    assert b"".join(bytes_of(table, token_id) for token_id in token_ids) == text.encode()


def test_what_is_forced_is_encoded_as_the_model_has_read_it() -> None:
    text = '{"the cat": 1}'
    assert embedded_table().tokenizer.tokenize_str(text) == BACKENDS["embedded"]().encode(text).ids


@pytest.mark.parametrize("num_logits", [300, 31, 32, 33, 1000])
def test_a_model_may_have_fewer_logits_and_more(num_logits: int) -> None:
    backend = byte_level_backend()
    table = table_of(backend, num_logits)
    assert may_begin_any_text(table) <= set(range(min(num_logits, num_ids(backend))))
    assert len(may_begin_any_text(table)) > num_logits // 5


def test_special_tokens_and_ids_without_a_token_are_never_text() -> None:
    table = embedded_table()
    special = Vocabulary(BACKENDS["embedded"]()).special_token_ids
    assert special
    assert may_begin_any_text(table) & {*special, *range(table.num_logits - 3, table.num_logits)} == set()


def test_of_tokens_with_the_same_bytes_each_is_allowed() -> None:
    backend = sentencepiece_backend()
    table = TokenTable(Backend.from_str(backend.to_str()), num_ids(backend))
    matcher = Grammar(check(Constraint(ConstraintKind.CHOICE, '["a!", "b!"]')), table).matcher(())
    assert matcher.verify([backend.token_to_id("a")]) == 1
    assert matcher.verify([backend.token_to_id("<0x61>"), backend.token_to_id("!")]) == 2
