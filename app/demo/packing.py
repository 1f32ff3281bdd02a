"""Documents to rows of tokens: several documents to a row, none of which can see another."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from app.demo.corpus.document import Chat, Document
from app.demo.tokenizer import END_OF_TEXT, MESSAGE_END, MESSAGE_START, NO_REASONING, REASONING_START

IGNORED = -100
ROW_LENGTHS = (256, 512, 1024)
"""Attention costs most in long rows: a document goes into the shortest that holds it."""
_CHOICE = 2
"""Batches' worth of documents that wait, for a batch to be filled well."""
_WITHOUT_REASONING = 16
"""One chat in so many is answered as where reasoning is switched off."""


class Sample(NamedTuple):
    """One document: its tokens, and which of them the model learns to write."""

    token_ids: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Packed rows, each tensor `[rows, length]`; positions start again at zero with every document."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor


def encode(document: Document, tokenizer: PreTrainedTokenizerFast, *, may_reason: bool = True) -> Sample:
    """Of a chat only the answers are learned; of plain text, everything."""
    if not isinstance(document, Chat):
        token_ids = tokenizer.encode(document.text + END_OF_TEXT)
        return Sample(token_ids, list(token_ids))
    messages: Any = [dict(message) for message in document.messages]
    # What the template itself writes at the start of the answer is not learned.
    given = REASONING_START if document.thinking else ""
    if not may_reason:
        given = NO_REASONING
        messages[-1]["content"] = given + messages[-1]["content"].split("</think>")[-1].lstrip("\n")
    tools: Any = list(document.tools) or None
    token_ids = tokenizer.encode(str(tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)))
    opening, end = tokenizer.encode(f"{MESSAGE_START}assistant\n"), tokenizer.convert_tokens_to_ids(MESSAGE_END)
    return Sample(token_ids, _answers(token_ids, opening, tokenizer.encode(given), end))


def _answers(token_ids: list[int], opening: list[int], given: list[int], end: int) -> list[int]:
    """The tokens after each `opening`, without those `given`, up to `end`; the others ignored."""
    labels = [IGNORED] * len(token_ids)
    for at, token_id in enumerate(token_ids):
        if token_id == opening[0] and token_ids[at : at + len(opening)] == opening:
            first, last = at + len(opening), token_ids.index(end, at)
            if given and token_ids[first : first + len(given)] == given:
                first += len(given)
            labels[first : last + 1] = token_ids[first : last + 1]
    return labels


def encoded(documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[Sample]:
    """The documents as samples; now and then a chat as it is where reasoning is switched off."""
    for at, document in enumerate(documents):
        yield encode(document, tokenizer, may_reason=at % _WITHOUT_REASONING > 0)


class Packer:
    """Batches of samples of like lengths; a sample is cut only when it is longer than the longest rows."""

    def __init__(self, samples: Iterable[Sample], padding: int, batch_tokens: int) -> None:
        self._samples = iter(samples)
        self._padding = padding
        self._batch_tokens = batch_tokens
        self._waiting: dict[int, list[Sample]] = {length: [] for length in ROW_LENGTHS}

    def batch(self) -> Batch:
        """The next rows, `batch_tokens` tokens in all."""
        length = self._gather()
        columns = zip(*(self._row(length) for _ in range(self._batch_tokens // length)), strict=True)
        return Batch(*(torch.tensor(column) for column in columns))

    def _gather(self) -> int:
        """Draw samples until those of one length are enough for a batch; returns that length."""
        for sample in self._samples:
            length = next((length for length in ROW_LENGTHS if len(sample.token_ids) <= length), ROW_LENGTHS[-1])
            self._waiting[length].append(sample)
            if sum(len(sample.token_ids) for sample in self._waiting[length]) >= _CHOICE * self._batch_tokens:
                return length
        raise ValueError("the samples ended")

    def _row(self, length: int) -> tuple[list[int], list[int], list[int]]:
        token_ids: list[int] = []
        positions: list[int] = []
        labels: list[int] = []
        while room := length - len(token_ids):
            sample = self._fitting(length, room)
            count = min(room, len(sample.token_ids))
            token_ids += sample.token_ids[:count]
            positions += range(count)
            # The first token of a document has nothing before it that could announce it.
            labels += [IGNORED, *sample.labels[1:count]]
        return token_ids, positions, labels

    def _fitting(self, length: int, room: int) -> Sample:
        """The longest sample that fits; for an empty row the one that waits longest; or else padding."""
        if room == length:
            return self._waiting[length].pop(0)
        for waiting in (self._waiting[shorter] for shorter in reversed(ROW_LENGTHS) if shorter <= length):
            fitting = [at for at, sample in enumerate(waiting) if len(sample.token_ids) <= room]
            if fitting:
                return waiting.pop(max(fitting, key=lambda at: len(waiting[at].token_ids)))
        return Sample([self._padding] * room, [IGNORED] * room)
