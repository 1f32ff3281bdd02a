"""From logits to tokens: each sequence's penalties and biases are applied to its logits, and a token is sampled.

The token depends on nothing but the sequence's own logits, parameters and position.
"""

from __future__ import annotations

import numpy as np
import torch

from app.messages import SamplingParams
from app.model.in_flight import Unknown
from app.model.sampling.draw import Sampler, sample_tokens
from app.model.sampling.masks import TokenMasks, apply_masks
from app.model.sampling.penalties import Penalties
from app.model.transfer import to_device
from app.scheduler.batch import Sampled


def sample(
    logits: torch.Tensor,
    sequences: list[Sampled],
    unknown: Unknown | None = None,
    sampler: Sampler = sample_tokens,
    penalties: Penalties | None = None,
    masks: TokenMasks | None = None,
) -> torch.Tensor:
    """Sample the next token of each sequence from its row of `[num_sequences, vocab]` logits, which may change.

    `penalties` remember the tokens of sequences between steps; without them, all tokens are counted anew. `masks` come
    last, so that no bias brings back what they forbid.
    Returns int64 `[num_sequences]`, with `NO_TOKEN` in rows whose largest logit is not finite (NaN counts as large).
    """
    if not sequences:  # a step that only computes chunks of prompts
        return torch.empty(0, dtype=torch.int64, device=logits.device)
    if any(_is_changed(sequence.params) for sequence in sequences):
        logits = logits.float()
        (penalties or Penalties()).apply(logits, sequences, unknown)
        _apply_bias(logits, sequences)
    if masks is not None:
        logits = apply_masks(logits, masks)
    return sampler(logits, sequences)


def _is_changed(params: SamplingParams) -> bool:
    """Whether the logits have to be changed before sampling; else they can stay in the model's precision."""
    return bool(
        params.repetition_penalty != 1
        or params.frequency_penalty
        or params.presence_penalty
        or params.logit_bias
        or params.min_tokens
    )


def _apply_bias(logits: torch.Tensor, sequences: list[Sampled]) -> None:
    """Add the requested biases, and forbid stop tokens to sequences that are shorter than their minimum."""
    entries = [
        (row, token_id, bias) for row, sequence in enumerate(sequences) for token_id, bias in sequence.params.logit_bias
    ]
    entries += [
        (row, token_id, -torch.inf)
        for row, sequence in enumerate(sequences)
        if sequence.num_output_tokens < sequence.params.min_tokens
        for token_id in sequence.params.stop_token_ids
    ]
    if entries:
        rows, token_ids, biases = (to_device(np.array(values), logits.device) for values in zip(*entries, strict=True))
        logits.index_put_((rows, token_ids), biases.to(logits.dtype), accumulate=True)
