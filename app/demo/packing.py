"""Documents to rows of tokens: several documents to a row, none of which can see another."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from app.demo.corpus import Chat, Document
from app.demo.tokenizer import END_OF_TEXT, MESSAGE_END, MESSAGE_START

IGNORED = -100


class Sample(NamedTuple):
    """One document: its tokens, and which of them the model learns to write."""

    token_ids: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Packed rows, each tensor `[rows, length]`; positions start again at zero with every document."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor


def encode(document: Document, tokenizer: PreTrainedTokenizerFast) -> Sample:
    """Of a chat only the answers are learned; of plain text, everything."""
    if not isinstance(document, Chat):
        token_ids = tokenizer.encode(document.text + END_OF_TEXT)
        return Sample(token_ids, list(token_ids))
    sample = Sample([], [])
    for message in document.messages:
        opening = tokenizer.encode(f"{MESSAGE_START}{message['role']}\n")
        content = tokenizer.encode(message["content"] + MESSAGE_END)
        closing = tokenizer.encode("\n")
        learned = message["role"] == "assistant"
        sample.token_ids.extend(opening + content + closing)
        sample.labels.extend([IGNORED] * len(opening))
        sample.labels.extend(content if learned else [IGNORED] * len(content))
        sample.labels.extend([IGNORED] * len(closing))
    return sample


class Packer:
    """Fills rows with documents in order; a document is cut only when it is longer than a row."""

    def __init__(self, documents: Iterator[Document], tokenizer: PreTrainedTokenizerFast) -> None:
        self._samples = (encode(document, tokenizer) for document in documents)
        self._waiting: Sample | None = None
        self._padding = tokenizer.get_vocab()[END_OF_TEXT]

    def _next(self) -> Sample:
        sample, self._waiting = self._waiting or next(self._samples), None
        return sample

    def _row(self, length: int) -> tuple[list[int], list[int], list[int]]:
        token_ids: list[int] = []
        positions: list[int] = []
        labels: list[int] = []
        while len(token_ids) < length:
            sample = self._next()
            room = length - len(token_ids)
            if token_ids and len(sample.token_ids) > room:
                self._waiting = sample
                sample = Sample([self._padding] * room, [IGNORED] * room)
            count = min(room, len(sample.token_ids))
            token_ids.extend(sample.token_ids[:count])
            positions.extend(range(count))
            # The first token of a document has nothing before it that could announce it.
            labels.extend([IGNORED, *sample.labels[1:count]])
        return token_ids, positions, labels

    def batch(self, rows: int, length: int) -> Batch:
        """The next rows."""
        columns = zip(*(self._row(length) for _ in range(rows)), strict=True)
        return Batch(*(torch.tensor(column) for column in columns))
