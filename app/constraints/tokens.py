"""The bytes of every token of a vocabulary, as the matchers need them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llguidance import LLTokenizer

from app.text.pieces import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

WORD_BITS = 32
"""A mask is an array of int32, in which token t is bit t % 32 of word t // 32."""


class TokenTable:
    """A vocabulary, cut or filled up to the model's logits, and a token that stands for the end of an answer.

    The bytes of a token are what the detokenizer shows of it. Special tokens show nothing: no constraint lets them be
    written, unless it names one by its id. Neither are ids allowed that the tokenizer does not have. The end is a
    token of its own, `end_id`, behind all logits: its bit in a mask says whether the grammar accepts, whatever the
    stop tokens of a sequence are.

    Threads may share a table.
    """

    def __init__(self, backend: Backend, num_logits: int) -> None:
        """Takes the tokenizer over: it is changed so that it encodes the middle of a text, special tokens as text.

        Takes 10 µs a token, a third of it with the interpreter's lock. Raises UnsupportedDecoderError for a
        tokenizer that cannot be streamed either.
        """
        vocabulary = Vocabulary(backend)
        special = [token_id for token_id in vocabulary.special_token_ids if token_id < num_logits]
        tokens = [_shown(vocabulary, token_id) for token_id in range(num_logits)]
        encoder = _Encoder(backend, tokens)
        for token_id in special:
            tokens[token_id] = (backend.id_to_token(token_id) or "").encode()
        self.num_logits = num_logits
        self.end_id = num_logits
        self.num_words = num_logits // WORD_BITS + 1
        """Words of one mask, in which the end has its bit too."""
        self.tokenizer = LLTokenizer(as_tokenizer([*tokens, b""], special, encoder))
        encoder.greedy = self.tokenizer.greedy_tokenize


def _shown(vocabulary: Vocabulary, token_id: int) -> bytes:
    if token_id in vocabulary.special_token_ids:
        return b""
    piece = vocabulary.piece(token_id)
    data = piece.encode() if isinstance(piece, str) else piece or b""
    # llguidance marks special tokens by this byte, which is never part of a text.
    return b"" if data.startswith(b"\xff") else data


def as_tokenizer(tokens: list[bytes], special_token_ids: list[int], encode: Any) -> Any:
    """What llguidance takes for a tokenizer of Python. The last of the tokens is the end."""
    return _PythonTokenizer(tokens, special_token_ids, encode)


class _PythonTokenizer:
    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], special_token_ids: list[int], encode: Any) -> None:
        self.tokens = tokens
        self.eos_token_id = len(tokens) - 1
        self.special_token_ids = special_token_ids
        self._encode = encode

    def __call__(self, text: str) -> list[int]:
        return list(self._encode(text))


class _Encoder:
    """Encodes text that a grammar forces, as the model would have seen it in the middle of a text.

    Where the tokenizer's own tokens are not that text again (it normalizes, or they are not among the model's), the
    longest tokens that fit are taken.
    """

    def __init__(self, backend: Backend, tokens: Sequence[bytes]) -> None:
        self._backend = backend
        self._tokens = list(tokens)
        self.greedy: Any = None
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True
        for part in (backend.normalizer, backend.pre_tokenizer):
            if part is not None:
                part.__setstate__(json.dumps(_without_prefix(json.loads(part.__getstate__()))).encode())
        # The same few texts are forced again and again: the keys of a schema.
        self._cached = lru_cache(maxsize=10_000)(self._encode)

    def __call__(self, text: str) -> Sequence[int]:
        return self._cached(text)

    def _encode(self, text: str) -> Sequence[int]:
        ids = self._backend.encode(text, add_special_tokens=False).ids
        if all(token_id < len(self._tokens) for token_id in ids):
            data = b"".join([self._tokens[token_id] for token_id in ids])
            if data == text.encode():
                return tuple(ids)
        return tuple(self.greedy(text))


def _without_prefix(state: Any) -> Any:
    """The state of a normalizer or pre-tokenizer that puts no space before a text."""
    if isinstance(state, list):
        return [_without_prefix(item) for item in state]
    if not isinstance(state, dict):
        return state
    match state.get("type"):
        case "Metaspace":
            return {**state, "prepend_scheme": "never"}
        case "ByteLevel":
            return {**state, "add_prefix_space": False}
        case "Prepend":
            return {"type": "Sequence", "normalizers": []}
    return {key: _without_prefix(value) for key, value in state.items()}
