"""Penalties for what was said before: repetition (prompt and output; Keskar et al. 2019), frequency and presence
(output; OpenAI's API)."""

from __future__ import annotations

import numpy as np
import torch

from app.model.carried import Unknown
from app.model.inputs import as_numpy
from app.model.transfer import columns, to_device
from app.scheduler.batch import Sampled


def penalise(logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown | None) -> None:
    """Change the rows of `[num_sequences, vocab]` logits whose sequences ask for it."""
    repeated = [i for i, s in enumerate(sequences) if s.params.repetition_penalty != 1]
    if repeated:
        at = to_device(np.array(repeated), logits.device)
        rows, seen = logits.index_select(0, at), _count(logits, sequences, repeated, unknown, with_prompt=True) > 0
        [penalties] = columns(logits.device, [sequences[i].params.repetition_penalty for i in repeated])
        penalised = torch.where(rows > 0, rows / penalties, rows * penalties)
        logits.index_copy_(0, at, penalised.where(seen, rows))
    counted = [i for i, s in enumerate(sequences) if s.params.frequency_penalty or s.params.presence_penalty]
    if counted:
        at = to_device(np.array(counted), logits.device)
        counts = _count(logits, sequences, counted, unknown, with_prompt=False)
        params = [sequences[i].params for i in counted]
        frequency, presence = columns(
            logits.device, [p.frequency_penalty for p in params], [p.presence_penalty for p in params]
        )
        logits.index_add_(0, at, frequency * counts + presence * (counts > 0), alpha=-1)


def _count(
    logits: torch.Tensor, sequences: list[Sampled], chosen: list[int], unknown: Unknown | None, with_prompt: bool
) -> torch.Tensor:
    """How often each token occurred in the chosen sequences: float32 `[len(chosen), vocab]`."""
    vocab_size = logits.shape[-1]
    counts = logits.new_zeros(len(chosen) * vocab_size)
    keys = [np.empty(0, dtype=np.int64)]
    for row, index in enumerate(chosen):
        sequence = sequences[index]
        history = as_numpy(sequence.token_ids)[0 if with_prompt else sequence.num_prompt_tokens :]
        keys.append(row * vocab_size + history.astype(np.int64))
    _add_ones(counts, to_device(np.concatenate(keys), logits.device))
    if unknown is not None:
        ranks = [index for index, sequence in enumerate(sequences) if sequence.ends_unknown]
        pairs = [(row, ranks.index(i)) for row, i in enumerate(chosen) if sequences[i].ends_unknown]
        rows, at = to_device(np.array(pairs, dtype=np.int64).reshape(-1, 2).T.copy(), logits.device)
        _add_ones(counts, rows * vocab_size + unknown.token_ids.clamp(min=0).index_select(0, at))
    return counts.view(len(chosen), vocab_size)


def _add_ones(counts: torch.Tensor, keys: torch.Tensor) -> None:
    counts.scatter_add_(0, keys, counts.new_ones(1).expand(len(keys)))
