"""Tokens that one step samples and the next one reads before the host has seen them: they stay on the device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from app.model.inputs import ForwardBatch
from app.model.transfer import to_device
from app.scheduler.batch import Sampled, ScheduledBatch


@dataclass(frozen=True, slots=True)
class Unknown:
    """The last tokens, `NO_TOKEN` among them, of the sequences of a step that end in a token unknown to the host.

    `token_ids[i]` stands at `places[i]` of the step's tokens. Both int64, `[num_unknown]`, in the order of samples.
    """

    token_ids: torch.Tensor
    places: torch.Tensor

    def fill(self, input_ids: torch.Tensor) -> None:
        """Put the tokens where they belong; one that could not be sampled may be any, for what follows is dropped."""
        input_ids.index_copy_(0, self.places, self.token_ids.clamp(min=0))


class Carried:
    """What the last step sampled."""

    def __init__(self) -> None:
        self._token_ids = torch.empty(0, dtype=torch.int64)
        self._indices: dict[int, int] = {}

    def keep(self, sequences: Iterable[Sampled], token_ids: torch.Tensor) -> None:
        """`token_ids[i]` was sampled for the i-th sequence."""
        self._token_ids = token_ids
        self._indices = {sampled.sequence.seq_id: index for index, sampled in enumerate(sequences)}

    def find_unknown(self, batch: ScheduledBatch, forward_batch: ForwardBatch) -> Unknown | None:
        """What the host does not know of a batch's tokens: those that the step before it sampled."""
        ends = zip(batch.rows, forward_batch.cu_seqlens_q[1:].tolist(), strict=True)
        columns = [
            [self._indices[row.sequence.seq_id] for row in batch.rows if row.ends_unknown],
            [end - 1 for row, end in ends if row.ends_unknown],
        ]
        if not columns[0]:
            return None
        indices, places = to_device(np.array(columns, dtype=np.int64), self._token_ids.device).unbind()
        return Unknown(self._token_ids.index_select(0, indices), places)
