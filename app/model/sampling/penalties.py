"""Penalties on tokens that occurred before: repetition (prompt and output; Keskar et al. 2019), frequency and presence
(output; OpenAI's API). Only the logits of such tokens are touched, each once, however often it occurred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.in_flight import Unknown
from app.model.sampling.occurrences import OccurrencesBySequence
from app.model.transfer import to_device
from app.scheduler.batch import Sampled

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Occurred:
    """The distinct tokens that occurred, `lengths[i]` of them in row `rows[i]` of the logits.

    `places`, int64: indices into all logits. `counts`, int64: occurrences. A place may come twice, with the same count.
    """

    rows: list[int]
    lengths: list[int]
    places: torch.Tensor
    counts: torch.Tensor

    def by_entry(self, of_rows: NDArray[T]) -> torch.Tensor:
        """Repeat one number per row for each of the row's entries."""
        return to_device(np.repeat(of_rows[self.rows], self.lengths), self.places.device)


class Penalties:
    """Counts the tokens of each sequence as it grows, so that a step only adds what is new."""

    def __init__(self) -> None:
        self._all_tokens = OccurrencesBySequence(lambda _: 0)
        self._output = OccurrencesBySequence(lambda sequence: sequence.num_prompt_tokens)

    def apply(self, logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown | None) -> None:
        """Apply penalties in place to float32 `[num_sequences, vocab]` logits, in the rows whose sequences have any."""
        repetition, frequency, presence = np.array(
            [(p.repetition_penalty, p.frequency_penalty, p.presence_penalty) for p in (s.params for s in sequences)],
            dtype=np.float32,
        ).T
        num_rows, vocab_size = logits.shape
        flat = logits.as_strided(((num_rows - 1) * logits.stride(0) + vocab_size,), (1,))
        repeated = np.flatnonzero(repetition != 1).tolist()
        if repeated:
            occurred = _find(self._all_tokens, logits, sequences, repeated, unknown)
            given, penalty = flat.index_select(0, occurred.places), occurred.by_entry(repetition)
            flat.index_copy_(0, occurred.places, torch.where(given > 0, given / penalty, given * penalty))
        counted = np.flatnonzero((frequency != 0) | (presence != 0)).tolist()
        if counted:
            occurred = _find(self._output, logits, sequences, counted, unknown)
            given = flat.index_select(0, occurred.places) - occurred.by_entry(presence)
            flat.index_copy_(0, occurred.places, given - occurred.by_entry(frequency) * occurred.counts)


def _find(
    kept: OccurrencesBySequence,
    logits: torch.Tensor,
    sequences: list[Sampled],
    rows: list[int],
    unknown: Unknown | None,
) -> Occurred:
    """The tokens that occurred in these rows' sequences, including those that only the device knows."""
    found = [kept.before(sequences[row]) for row in rows]
    lengths = [len(each.token_ids) for each in found]
    packed = np.empty((2, sum(lengths)), dtype=np.int64)
    np.concatenate([np.frombuffer(each.token_ids, dtype=np.int32) for each in found], out=packed[0])
    np.concatenate([np.frombuffer(each.counts, dtype=np.int32) for each in found], out=packed[1])
    packed[0] += np.repeat(np.array(rows) * logits.stride(0), lengths)
    occurred = Occurred(rows, lengths, *to_device(packed, logits.device))
    return occurred if unknown is None else _with_unknown(occurred, logits, sequences, unknown)


def _with_unknown(occurred: Occurred, logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown) -> Occurred:
    """Add one occurrence of each row's unknown last token. It gets an entry of its own, since the host cannot know
    whether its place already has one; if so, both hold the new count."""
    ranks = {row: rank for rank, row in enumerate(i for i, s in enumerate(sequences) if s.ends_unknown)}
    ending = [row for row in occurred.rows if row in ranks]
    at_rows, at = to_device(np.array([ending, [ranks[row] for row in ending]], dtype=np.int64), logits.device)
    last = at_rows * logits.stride(0) + unknown.token_ids.clamp(min=0).index_select(0, at)
    row_of_entry = occurred.by_entry(np.arange(len(sequences)))
    last_of_row = last.new_full((len(sequences),), -1).index_copy_(0, at_rows, last)
    is_last = (occurred.places == last_of_row.index_select(0, row_of_entry)).long()
    before = last.new_zeros(len(sequences)).index_add_(0, row_of_entry, occurred.counts * is_last)
    return Occurred(
        occurred.rows + ending,
        occurred.lengths + [1] * len(ending),
        torch.cat((occurred.places, last)),
        torch.cat((occurred.counts + is_last, before.index_select(0, at_rows) + 1)),
    )
