"""In-flight tokens: one step samples them and the next reads them on the device, before the host has seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from app.model.transfer import to_device
from app.scheduler.batch import Sampled, ScheduledRow


@dataclass(frozen=True)
class Unknown:
    """The last tokens of a step's sequences that the host does not know yet, in the order of samples.

    `sampled`: all that the previous step sampled, `NO_TOKEN` included. Its entry `indices[i]` belongs at position
    `places[i]` of this step's tokens.
    """

    sampled: torch.Tensor
    indices: list[int]
    places: list[int]

    @cached_property
    def _on_device(self) -> tuple[torch.Tensor, torch.Tensor]:
        columns = np.array((self.indices, self.places), dtype=np.int64)
        indices, places = to_device(columns, self.sampled.device).unbind()
        return self.sampled.index_select(0, indices), places

    @property
    def token_ids(self) -> torch.Tensor:
        """int64 `[num_unknown]`"""
        return self._on_device[0]

    def fill(self, input_ids: torch.Tensor) -> None:
        """Write the tokens to their places. `NO_TOKEN` may become any token, since what follows from it is dropped."""
        token_ids, places = self._on_device
        input_ids.index_copy_(0, places, token_ids.clamp(min=0))


class InFlightTokens:
    """The tokens that the last step sampled, kept on the device for the next one."""

    def __init__(self) -> None:
        self._token_ids = torch.empty(0, dtype=torch.int64)
        self._sequences: Sequence[Sampled] = ()

    def keep(self, sequences: Sequence[Sampled], token_ids: torch.Tensor) -> None:
        """`token_ids[i]` was sampled for the i-th sequence."""
        self._token_ids, self._sequences = token_ids, sequences

    def find_unknown(self, rows: Sequence[ScheduledRow], cu_seqlens_q: Sequence[int]) -> Unknown | None:
        """The tokens of a batch that only the device knows: those that the previous step sampled.

        Row i ends before token `cu_seqlens_q[i + 1]`.
        """
        places = [cu_seqlens_q[index + 1] - 1 for index, row in enumerate(rows) if row.ends_unknown]
        if not places:
            return None
        indices = {sampled.sequence.seq_id: index for index, sampled in enumerate(self._sequences)}
        return Unknown(self._token_ids, [indices[row.sequence.seq_id] for row in rows if row.ends_unknown], places)
