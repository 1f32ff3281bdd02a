"""Packs documents into rows of tokens: several documents per row, none of which can attend to another."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from app.demo.corpus.document import Chat, Document
from app.demo.tokenizer import END_OF_TEXT, MESSAGE_END, MESSAGE_START, NO_REASONING, REASONING_START

IGNORED = -100
ROW_LENGTHS = (256, 512, 1024)
"""Attention is most expensive in long rows, so a document goes into the shortest row that holds it."""
_CHOICE = 2
"""How many batches' worth of documents are held back, so that batches can be filled well."""
_WITHOUT_REASONING = 16
"""One in this many chats is rendered as if reasoning were switched off."""


class Sample(NamedTuple):
    """One document: its tokens, and which of them the model learns to write."""

    token_ids: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Packed rows, each array `[rows, length]`; positions start again at zero with every document."""

    input_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    labels: NDArray[np.int32]


def encode(document: Document, tokenizer: PreTrainedTokenizerFast, *, may_reason: bool = True) -> Sample:
    """Encode a document. Only the answers of a chat are learned, but everything of plain text."""
    if not isinstance(document, Chat):
        token_ids = _tokens(tokenizer, document.text + END_OF_TEXT)
        return Sample(token_ids, list(token_ids))
    messages: Any = [dict(message) for message in document.messages]
    # What the template writes at the start of the answer is not learned.
    given = REASONING_START if document.thinking else ""
    if not may_reason:
        given = NO_REASONING
        messages[-1]["content"] = given + messages[-1]["content"].split("</think>")[-1].lstrip("\n")
    tools: Any = list(document.tools) or None
    token_ids = _tokens(tokenizer, str(tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)))
    opening, end = _markup(tokenizer, f"{MESSAGE_START}assistant\n"), _markup(tokenizer, MESSAGE_END)[0]
    return Sample(token_ids, _answers(token_ids, opening, _markup(tokenizer, given), end))


def _tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Encode with the backend alone: what transformers does around it takes as long as the encoding itself."""
    token_ids: list[int] = tokenizer.backend_tokenizer.encode(text).ids
    return token_ids


_markup = lru_cache(maxsize=16)(_tokens)


def _answers(token_ids: list[int], opening: list[int], given: list[int], end: int) -> list[int]:
    """The labels: the tokens after each `opening` up to `end`, without those in `given`; all others are ignored."""
    labels = [IGNORED] * len(token_ids)
    for at, token_id in enumerate(token_ids):
        if token_id == opening[0] and token_ids[at : at + len(opening)] == opening:
            first, last = at + len(opening), token_ids.index(end, at)
            if given and token_ids[first : first + len(given)] == given:
                first += len(given)
            labels[first : last + 1] = token_ids[first : last + 1]
    return labels


def encoded(documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[Sample]:
    """The documents as samples; one in `_WITHOUT_REASONING` chats as if reasoning were switched off."""
    for at, document in enumerate(documents):
        yield encode(document, tokenizer, may_reason=at % _WITHOUT_REASONING > 0)


class _Waiting:
    """Waiting samples of one row length, the shortest first, and equally long ones in order of arrival."""

    def __init__(self) -> None:
        self.tokens = 0
        self._row: list[tuple[int, int, Sample]] = []

    def add(self, arrival: int, sample: Sample) -> None:
        """Add a sample; `arrival` must increase."""
        entry = (len(sample.token_ids), arrival, sample)
        self._row.insert(bisect_right(self._row, entry[:2], key=lambda other: other[:2]), entry)
        self.tokens += entry[0]

    def take_first(self) -> Sample:
        """Remove and return the sample that has waited longest."""
        return self._take(min(range(len(self._row)), key=lambda at: self._row[at][1]))

    def take_longest(self, room: int) -> Sample | None:
        """Remove and return the longest sample that fits; None if none does."""
        fitting = bisect_right(self._row, room, key=lambda entry: entry[0])
        return self._take(fitting - 1) if fitting else None

    def _take(self, at: int) -> Sample:
        length, _, sample = self._row.pop(at)
        self.tokens -= length
        return sample


class Packer:
    """Makes batches of samples of similar lengths. A sample is only cut if it is longer than the longest rows."""

    def __init__(
        self,
        samples: Iterable[Sample],
        padding: int,
        batch_tokens: int,
        row_lengths: tuple[int, ...] = ROW_LENGTHS,
    ) -> None:
        self._samples = zip(count(), samples)
        self._padding = padding
        self._batch_tokens = batch_tokens
        self._waiting = {length: _Waiting() for length in row_lengths}

    def batch(self) -> Batch:
        """The next rows, `batch_tokens` tokens in all."""
        length = self._gather()
        columns: tuple[list[int], list[int], list[int]] = ([], [], [])
        for _ in range(self._batch_tokens // length):
            self._add_row(length, *columns)
        return Batch(*(np.array(column, dtype=np.int32).reshape(-1, length) for column in columns))

    def _gather(self) -> int:
        """Draw samples until there are enough of one row length for a batch. Returns that length."""
        for arrival, sample in self._samples:
            size, longest = len(sample.token_ids), max(self._waiting)
            length = next((length for length in self._waiting if size <= length), longest)
            waiting = self._waiting[length]
            waiting.add(arrival, sample)
            if waiting.tokens >= _CHOICE * self._batch_tokens:
                return length
        raise ValueError("the samples ended")

    def _add_row(self, length: int, token_ids: list[int], positions: list[int], labels: list[int]) -> None:
        room = length
        while room:
            sample = self._fitting(length, room)
            size = min(room, len(sample.token_ids))
            token_ids += sample.token_ids[:size]
            positions += range(size)
            # Nothing precedes the first token of a document that could predict it.
            labels += [IGNORED, *sample.labels[1:size]]
            room -= size

    def _fitting(self, length: int, room: int) -> Sample:
        """The longest sample that fits, or for an empty row the one that has waited longest; padding if none fits."""
        if room == length:
            return self._waiting[length].take_first()
        for shorter in reversed(self._waiting):
            if shorter <= length and (sample := self._waiting[shorter].take_longest(room)):
                return sample
        return Sample([self._padding] * room, [IGNORED] * room)
