"""Assembles text from the pieces of tokens, one token at a time, and tracks where in the text each token is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from codecs import utf_8_decode
from collections.abc import Iterable, Sequence

from app.text.pieces import Piece, PieceTable, Style, Vocabulary

REPLACEMENT = "\ufffd"


def begin_assembly(vocabulary: Vocabulary, prompt_token_ids: Sequence[int], pieces: PieceTable) -> TextAssembly:
    """An empty text that continues where the prompt ends, made of `pieces` of the vocabulary."""
    match vocabulary.rules.style:
        case Style.BYTE_LEVEL:
            return ByteLevelAssembly(pieces, prompt_token_ids)
        case Style.FUSED:
            return FusedAssembly(pieces, prompt_token_ids, vocabulary.rules.strip_char, vocabulary.rules.strip_count)
        case Style.WORDS:
            return WordAssembly(pieces, prompt_token_ids, vocabulary)


class TextAssembly(ABC):
    """A growing text. Text is *settled* once no later token can change it; only settled text is ever returned.

    `starts[i]` is the offset of the character in which token i begins, `ends[i]` the offset after the last character
    that it contributes to. Both are counted in characters of this text and never decrease; they are equal for a token
    without text. At most the last few tokens, those of a character that is still incomplete, are missing from both.
    """

    __slots__ = ("_pieces", "ends", "num_chars", "starts")

    def __init__(self, pieces: PieceTable) -> None:
        self._pieces = pieces
        self.num_chars = 0
        self.starts: list[int] = []
        self.ends: list[int] = []

    @abstractmethod
    def add(self, token_id: int) -> str:
        """Add the next token. Returns the text that it settles."""

    @abstractmethod
    def finish(self) -> str:
        """End the text. Returns the replacement for an incomplete character at its end, or an empty string."""

    @property
    def num_tokens(self) -> int:
        return len(self.starts)

    def truncate(self, num_chars: int) -> None:
        """Cut the text after this many settled characters, and drop the tokens that contribute to none of them."""
        del self.ends[bisect_left(self.starts, num_chars) :]
        del self.starts[len(self.ends) :]
        self.num_chars = num_chars

    def _place(self, text: str) -> str:
        """Append a token whose whole text is `text` to the settled text."""
        self.starts.append(self.num_chars)
        self.num_chars += len(text)
        self.ends.append(self.num_chars)
        return text


class WordAssembly(TextAssembly):
    """Style.WORDS: the first visible token of prompt and output together is written differently from the others."""

    __slots__ = ("_begun", "_vocabulary")

    def __init__(self, pieces: PieceTable, prompt_token_ids: Sequence[int], vocabulary: Vocabulary) -> None:
        super().__init__(pieces)
        self._vocabulary = vocabulary
        self._begun = any(pieces[token_id] is not None for token_id in prompt_token_ids)

    def add(self, token_id: int) -> str:
        piece = self._pieces[token_id]
        if not isinstance(piece, str):
            return self._place("")
        if not self._begun:
            self._begun = True
            piece = self._vocabulary.first_piece(token_id)
        return self._place(piece)

    def finish(self) -> str:
        return ""


class ByteLevelAssembly(TextAssembly):
    """Style.BYTE_LEVEL. Invalid UTF-8 is shown as one U+FFFD per maximal subpart of a character (Unicode, section 3.9).

    An incomplete character at the end is therefore one character whatever follows: the complete one, or one U+FFFD.
    """

    __slots__ = ("_borrowed", "_pending")

    def __init__(self, pieces: PieceTable, prompt_token_ids: Sequence[int]) -> None:
        super().__init__(pieces)
        self._pending = incomplete_tail(pieces[token_id] for token_id in reversed(prompt_token_ids))
        # The prompt has been shown already: if the output does not complete its last character, the U+FFFD for that
        # belongs to the prompt.
        self._borrowed = bool(self._pending)

    def add(self, token_id: int) -> str:
        piece = self._pieces[token_id]
        if type(piece) is str and not self._pending:
            # `_place` inlined, because nearly every token takes this path.
            self.starts.append(self.num_chars)
            self.num_chars += len(piece)
            self.ends.append(self.num_chars)
            return piece
        return self._join(piece.encode() if isinstance(piece, str) else piece or b"")

    def finish(self) -> str:
        text = REPLACEMENT if self._pending and not self._borrowed else ""
        self.num_chars += len(text)
        self._pending = b""
        if self._borrowed:  # the output never completed the prompt's last character: its few tokens have no text
            self.ends = [self.num_chars for _ in self.ends]
        return text

    def _join(self, data: bytes) -> str:
        start, pending = self.num_chars, self._pending
        joined = pending + data
        text, used = decode_utf8(joined)
        self._pending = joined[used:]
        if self._borrowed:
            self._borrowed = used == 0
            if not joined.startswith(REPLACEMENT.encode()):
                text = text.removeprefix(REPLACEMENT)
        elif pending and not _continues(pending, data[:1]):
            start += 1
        self.num_chars += len(text)
        self.starts.append(start)
        self.ends.append(self.num_chars + bool(self._pending))
        return text


class FusedAssembly(TextAssembly):
    """Style.FUSED. A byte that belongs to no complete character is shown as one U+FFFD, as SentencePiece does.

    The tokenizers library instead replaces a whole run of byte tokens, including complete characters, if any byte of it
    is invalid. To do the same, a run would have to be held back until it ends: a line of Chinese written in bytes, or a
    model that writes newlines for ever, would show nothing and match no stop string.
    """

    __slots__ = ("_held", "_pending", "_strip_char", "_strip_count")

    def __init__(self, pieces: PieceTable, prompt_token_ids: Sequence[int], strip_char: str, strip_count: int) -> None:
        super().__init__(pieces)
        self._pending = incomplete_tail(pieces[token_id] for token_id in reversed(prompt_token_ids))
        self._held: list[bytes] = []  # the output tokens that make up _pending: one byte each, or none if not shown
        self._strip_char = strip_char
        self._strip_count = strip_count
        for token_id in prompt_token_ids:
            if not self._strip_count:
                break
            self._strip(pieces[token_id])

    @property
    def num_tokens(self) -> int:
        return len(self.starts) + len(self._held)

    def truncate(self, num_chars: int) -> None:
        super().truncate(num_chars)
        self._held.clear()

    def add(self, token_id: int) -> str:
        piece = self._pieces[token_id]
        if self._strip_count:
            piece = self._strip(piece)
        if isinstance(piece, str):
            return self.finish() + self._place(piece) if self._pending else self._place(piece)
        if piece is None:
            if not self._pending:
                return self._place("")
            self._held.append(b"")
            return ""
        return self._join(piece)

    def finish(self) -> str:
        text = "".join([self._place(REPLACEMENT if byte else "") for byte in self._held])
        self._held.clear()
        self._pending = b""
        return text

    def _join(self, byte: bytes) -> str:
        lost = "" if not self._pending or _continues(self._pending, byte) else self.finish()
        self._pending += byte
        self._held.append(byte)
        char, used = decode_utf8(self._pending)
        if not used:
            return lost
        self.starts += [self.num_chars] * len(self._held)
        self.num_chars += 1
        self.ends += [self.num_chars] * len(self._held)
        self._held.clear()
        self._pending = b""
        return lost + char

    def _strip(self, piece: Piece) -> Piece:
        if not piece:
            return piece
        if isinstance(piece, bytes):
            self._strip_count = 0
            return piece
        rest = piece.lstrip(self._strip_char)
        cut = min(len(piece) - len(rest), self._strip_count)
        self._strip_count = 0 if rest else self._strip_count - cut
        return piece[cut:]


def incomplete_tail(last_first: Iterable[Piece]) -> bytes:
    """The bytes (at most three) of a character that the pieces, given last one first, begin but do not complete."""
    tail = b""
    for piece in last_first:
        if isinstance(piece, str) and piece:
            break
        if isinstance(piece, bytes):
            tail = piece + tail
        if len(tail) >= 3:
            break
    return tail[decode_utf8(tail)[1] :]


def decode_utf8(data: bytes) -> tuple[str, int]:
    """Decode UTF-8. Returns the text and the number of bytes used: all but an incomplete character at the end."""
    text, used = utf_8_decode(data, "replace", False)
    if len(data) - used == 2 and data[used] == 0xED and data[used + 1] >= 0xA0:
        # CPython waits for the third byte of an encoded surrogate here, but no valid character begins like that.
        return text + REPLACEMENT * 2, len(data)
    return text, used


def _continues(pending: bytes, byte: bytes) -> bool:
    """Whether `byte` continues or completes the character that begins with the incomplete bytes `pending`."""
    text, used = decode_utf8(pending + byte)
    return used == 0 or (used == len(pending) + 1 and len(text) == 1)
