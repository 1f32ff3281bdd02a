"""Penalties for what was said before: repetition (prompt and output; Keskar et al. 2019), frequency and presence
(output; OpenAI's API). Only logits of tokens that occurred are touched."""

from __future__ import annotations

import numpy as np
import torch

from app.model.carried import Unknown
from app.model.inputs import as_numpy
from app.model.transfer import columns, to_device
from app.scheduler.batch import Sampled


def penalise(logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown | None) -> None:
    """Change the rows of `[num_sequences, vocab]` logits whose sequences ask for it."""
    params = [sequence.params for sequence in sequences]
    repeated = [row for row, p in enumerate(params) if p.repetition_penalty != 1]
    if repeated:
        places = _occurrences(logits.device, sequences, repeated, unknown, with_prompt=True)
        [penalties] = columns(logits.device, [p.repetition_penalty for p in params])
        given, penalty = logits[places], penalties[places[0], 0]
        # A token that occurred twice is written twice, the same each time.
        logits[places] = torch.where(given > 0, given / penalty, given * penalty)
    counted = [row for row, p in enumerate(params) if p.frequency_penalty or p.presence_penalty]
    if counted:
        places = _occurrences(logits.device, sequences, counted, unknown, with_prompt=False)
        frequency, presence = columns(
            logits.device, [p.frequency_penalty for p in params], [p.presence_penalty for p in params]
        )
        logits[places] -= presence[places[0], 0]
        logits.index_put_(places, -frequency[places[0], 0], accumulate=True)


def _occurrences(
    device: torch.device, sequences: list[Sampled], rows: list[int], unknown: Unknown | None, with_prompt: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and token, for every token of these rows' sequences as often as it occurred."""
    histories = [
        as_numpy(sequences[row].token_ids)[0 if with_prompt else sequences[row].num_prompt_tokens :] for row in rows
    ]
    places = np.stack((np.repeat(rows, [len(history) for history in histories]), np.concatenate(histories)))
    at_rows, token_ids = to_device(places, device)
    if unknown is not None:
        ranks = {row: rank for rank, row in enumerate(i for i, s in enumerate(sequences) if s.ends_unknown)}
        pairs = [(row, ranks[row]) for row in rows if row in ranks]
        more_rows, at = to_device(np.array(pairs, dtype=np.int64).reshape(-1, 2).T.copy(), device)
        more_ids = unknown.token_ids.clamp(min=0).index_select(0, at)
        at_rows, token_ids = torch.cat((at_rows, more_rows)), torch.cat((token_ids, more_ids))
    return at_rows, token_ids
