"""What each token of a vocabulary adds to a text, derived from the vocabulary's own decoder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from tokenizers.decoders import Decoder

Piece = str | bytes | None
"""`str`: complete characters. `bytes`: not complete characters without the neighbouring tokens. None: no text."""


class UnsupportedDecoderError(ValueError):
    """The vocabulary joins its tokens in a way that does not allow decoding token by token."""


class Style(Enum):
    """How the texts of tokens are joined.

    BYTE_LEVEL: the bytes of all tokens, decoded as UTF-8 (GPT-2, Llama 3, Qwen).
    FUSED: pieces of text, some of them a single byte `<0xE4>`, concatenated (SentencePiece: Llama 2, Gemma).
    WORDS: pieces of text that differ at the very start (Metaspace, WordPiece, or words joined by spaces).
    """

    BYTE_LEVEL = auto()
    FUSED = auto()
    WORDS = auto()


@dataclass(frozen=True, slots=True)
class DecoderRules:
    """The style, and for Style.FUSED whether a token `<0xE4>` stands for that byte, and which character is stripped
    from the start of the whole text, at most how often.
    """

    style: Style
    byte_fallback: bool = False
    strip_char: str = ""
    strip_count: int = 0


def read_rules(decoder: Decoder | None) -> DecoderRules:
    """Derive the rules from a decoder of the tokenizers library.

    Raises UnsupportedDecoderError for a decoder (CTC, BPEDecoder) or a sequence of decoders that is not known here.
    """
    if decoder is None:
        return DecoderRules(Style.WORDS)
    steps = _flatten(json.loads(decoder.__getstate__()))
    names = " ".join(step["type"] for step in steps)
    if names == "ByteLevel":
        return DecoderRules(Style.BYTE_LEVEL)
    if names in ("Metaspace", "WordPiece"):
        return DecoderRules(Style.WORDS)
    if re.fullmatch(r"(Replace ?)*(ByteFallback ?)?(Fuse ?)?", names):
        return DecoderRules(Style.FUSED, "ByteFallback" in names)
    if re.fullmatch(r"(Replace )*(ByteFallback )?Fuse Strip", names):
        strip = steps[-1]
        if strip["stop"] == 0 and strip["content"].isascii():
            return DecoderRules(Style.FUSED, "ByteFallback" in names, strip["content"], strip["start"])
    raise UnsupportedDecoderError(f"The tokenizer's decoder cannot be streamed: {names}.")


def _flatten(step: dict[str, Any]) -> list[dict[str, Any]]:
    if step["type"] != "Sequence":
        return [step]
    return [inner for part in step["decoders"] for inner in _flatten(part)]


class PieceTable(dict[int, Piece]):
    """Token id → piece, filled on first use. Threads may share it, because the same id always gets the same piece."""

    def __init__(self, vocabulary: Vocabulary, skipped: frozenset[int]) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._skipped = skipped

    def __missing__(self, token_id: int) -> Piece:
        piece = None if token_id in self._skipped else self._vocabulary.piece(token_id)
        self[token_id] = piece
        return piece


class Vocabulary:
    """The pieces of a vocabulary, with all tokens (`all_pieces`) or without some of the special ones."""

    def __init__(self, backend: Backend) -> None:
        """Raises UnsupportedDecoderError."""
        self._backend = backend
        self._decoder = backend.decoder
        added = backend.get_added_tokens_decoder()
        self._added = {token_id: token.content for token_id, token in added.items()}
        self.rules = read_rules(self._decoder)
        self.special_token_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self.all_pieces = PieceTable(self, frozenset())
        self._without_special: dict[frozenset[int], PieceTable] = {}

    def without_special(self, kept: frozenset[int]) -> PieceTable:
        """The pieces, where special tokens have no text, except those that are `kept`. There is a table for each such
        set, of which a model's format of replies needs few.
        """
        table = self._without_special.get(kept)
        if table is None:
            table = self._without_special.setdefault(kept, PieceTable(self, self.special_token_ids - kept))
        return table

    def piece(self, token_id: int) -> Piece:
        """What the token adds to a text other than at its start. None for an id that the vocabulary does not have."""
        token = self._backend.id_to_token(token_id)
        if token is None:
            return None
        if self.rules.style is Style.BYTE_LEVEL:
            return _whole_or_bytes(_byte_level(token))
        if self.rules.byte_fallback and (byte := _BYTE_TOKEN.fullmatch(token)):
            return _whole_or_bytes(bytes.fromhex(byte[1]))
        # Decoding it after another token avoids what the decoder only does at the start of a text.
        return self._join(["x", token]).removeprefix("x")

    def first_piece(self, token_id: int) -> str:
        """What the token adds as the first one of a text (Style.WORDS)."""
        return self._join([self._backend.id_to_token(token_id) or ""])

    def token_bytes(self, token_id: int) -> bytes:
        """The token's own bytes within a text; for a special or added token its name. Empty for an unknown id."""
        if (content := self._added.get(token_id)) is not None:
            return content.encode()
        piece = self.all_pieces[token_id]
        return piece.encode() if isinstance(piece, str) else piece or b""

    def _join(self, tokens: list[str]) -> str:
        return " ".join(tokens) if self._decoder is None else self._decoder.decode(tokens)


_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _whole_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte (`bytes_to_unicode` in openai/gpt-2, encoder.py), reversed."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_OUTSIDE = 0xFFFF
_ALPHABET = dict.fromkeys(range(256), _OUTSIDE) | {ord(char): byte for char, byte in _byte_alphabet().items()}


def _byte_level(token: str) -> bytes:
    # A token with any character outside the alphabet (an added one) stands for its own text, as in the tokenizers'
    # ByteLevel decoder.
    try:
        return token.translate(_ALPHABET).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode()
