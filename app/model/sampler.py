"""From logits to tokens: per-sequence penalties, bias, temperature and truncation, vectorised over the batch.

What a sequence draws depends on nothing but its own logits, parameters and position: the uniform number is a hash of
(seed, position), and every row takes a route through the code that its own parameters choose.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from app.model.carried import Unknown
from app.model.draws import DrawBeyond, draw_truncated, draw_whole, sort_more
from app.model.penalties import penalise
from app.model.transfer import to_device
from app.scheduler.batch import NO_TOKEN, Sampled


def sample(
    logits: torch.Tensor,
    sequences: list[Sampled],
    unknown: Unknown | None = None,
    draw_beyond: DrawBeyond = sort_more,
) -> torch.Tensor:
    """Choose the next token of each sequence from its row of `[num_sequences, vocab]` logits, which may change.

    Returns int64 `[num_sequences]`, with `NO_TOKEN` in rows whose largest logit is not finite (NaN counts as large).
    """
    if _is_plain(sequences):
        return _most_likely(logits)
    logits = logits.float()
    penalise(logits, sequences, unknown)
    _apply_bias(logits, sequences)
    most_likely = _most_likely(logits)
    drawn = [index for index, sequence in enumerate(sequences) if sequence.params.temperature > 0]
    if not drawn:
        return most_likely
    token_ids = most_likely.clone()
    truncated = [index for index in drawn if sequences[index].params.top_k or sequences[index].params.top_p < 1]
    whole = sorted(set(drawn) - set(truncated))
    of_most_likely = partial(draw_truncated, draw_beyond=draw_beyond)
    for draw, rows in ((of_most_likely, truncated), (draw_whole, whole)):
        if rows:
            at = to_device(np.array(rows), logits.device)
            tokens = draw(logits.index_select(0, at), [sequences[index] for index in rows])
            token_ids.index_copy_(0, at, tokens)
    return token_ids.where(most_likely != NO_TOKEN, NO_TOKEN)


def _is_plain(sequences: list[Sampled]) -> bool:
    """Whether every sequence takes the most likely token as the model gives it: then nothing is computed with logits,
    and they may stay in the model's own precision."""
    return all(
        params.temperature == 0
        and params.repetition_penalty == 1
        and not (params.frequency_penalty or params.presence_penalty or params.logit_bias or params.min_tokens)
        for params in [sequence.params for sequence in sequences]
    )


def _most_likely(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest logits of each row, or `NO_TOKEN` where that is not finite; NaN counts as largest.

    On the CPU numpy finds it 6 times faster, and after a step, which has put all else out of the caches, one of torch's
    operators costs as much as numpy's search.
    """
    if logits.device.type != "cpu":
        largest, token_ids = logits.max(-1)
        return token_ids.where(largest.abs() < torch.inf, NO_TOKEN)
    values = logits.float().numpy()
    found = values.argmax(-1)
    found[~np.isfinite(values[np.arange(len(found)), found])] = NO_TOKEN
    return torch.from_numpy(found)


def _apply_bias(logits: torch.Tensor, sequences: list[Sampled]) -> None:
    """Add the biases asked for, and forbid the stop tokens of sequences that are still below their minimum."""
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
