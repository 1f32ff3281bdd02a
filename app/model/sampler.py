"""From logits to tokens: per-sequence penalties, bias, temperature and truncation, vectorised over the batch.

What a sequence draws depends on nothing but its own logits, parameters and position: the uniform number is a hash of
(seed, position), and every row takes a route through the code that its own parameters choose.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.carried import Unknown
from app.model.penalties import penalise
from app.model.transfer import columns, to_device
from app.scheduler.batch import NO_TOKEN, Sampled

NUCLEUS_CANDIDATES = 256
"""Top-p alone first looks at this many of the most likely tokens, and at 16 times as many while they do not suffice:
sorting a vocabulary of 150,000 for every row would take longer than a small model's step."""


def sample(logits: torch.Tensor, sequences: list[Sampled], unknown: Unknown | None = None) -> torch.Tensor:
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
    for draw, rows in ((_draw_truncated, truncated), (_draw_whole, whole)):
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


def uniforms(sequences: list[Sampled]) -> NDArray[np.float64]:
    """One float64 in [0, 1) per sequence: splitmix64 (Steele et al. 2014) of its seed and the position it draws for."""
    with np.errstate(over="ignore"):
        seeds = np.array([sequence.params.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_tokens for sequence in sequences], dtype=np.uint64)
        bits = _mix(_mix(seeds) + positions * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _draw_whole(logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
    """Draw from the whole vocabulary, in its own order: nothing is sorted."""
    params = [sequence.params for sequence in sequences]
    min_p = [p.min_p for p in params]
    temperature, share, draws = columns(logits.device, [p.temperature for p in params], min_p, uniforms(sequences))
    probabilities = (logits / temperature).softmax(-1)
    if any(min_p):
        floor = probabilities.amax(-1, keepdim=True) * share
        probabilities = probabilities.masked_fill(probabilities < floor, 0)
    return _invert(probabilities, draws)


def _draw_truncated(logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
    """Draw from the most likely tokens only: the `top_k` first, of these the smallest set that holds `top_p`, of
    these the ones at least `min_p` times as likely as the first (the nucleus: Holtzman et al. 2020)."""
    vocab_size = logits.shape[-1]
    params = [sequence.params for sequence in sequences]
    most = [min(p.top_k or vocab_size, vocab_size) for p in params]
    temperature, top_k, top_p, min_p, draws = columns(
        logits.device,
        [p.temperature for p in params],
        most,
        [p.top_p for p in params],
        [p.min_p for p in params],
        uniforms(sequences),
    )
    scaled = logits / temperature
    unlimited = top_k >= vocab_size
    num_candidates = min(vocab_size, max(k if k < vocab_size else NUCLEUS_CANDIDATES for k in most))
    log_total = scaled.logsumexp(-1, keepdim=True)
    while True:
        values, candidates = scaled.topk(num_candidates)
        probabilities = (values - log_total).exp()
        if num_candidates == vocab_size or max(most) < vocab_size:
            break
        lacking = unlimited & (probabilities.sum(-1, keepdim=True) < top_p)
        if not bool(lacking.any()):  # the one place where sampling waits for the device: top-p without top-k
            break
        num_candidates = min(vocab_size, 16 * num_candidates)
    ranks = torch.arange(probabilities.shape[-1], device=logits.device)
    probabilities = probabilities.masked_fill(ranks >= top_k, 0)
    total = probabilities.sum(-1, keepdim=True).masked_fill(unlimited, 1)
    before = probabilities.cumsum(-1) - probabilities
    floor = probabilities[:, :1] * min_p
    probabilities = probabilities.masked_fill((before >= top_p * total) | (probabilities < floor), 0)
    return candidates.gather(1, _invert(probabilities, draws)[:, None])[:, 0]


def _invert(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution of (unnormalised) probabilities at each row's uniform number.

    The first entry whose cumulative sum exceeds `u * total` has a probability above 0, since u < 1.
    """
    precise = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(-1, dtype=precise)
    found = torch.searchsorted(cumulative, draws.to(precise) * cumulative[:, -1:], right=True)
    return found[:, 0].clamp(max=probabilities.shape[-1] - 1)


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
