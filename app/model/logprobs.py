"""Log-probabilities of chosen tokens and of their most likely alternatives."""

from __future__ import annotations

import torch

from app.messages import TokenLogprobs


def gather_logprobs(logits: torch.Tensor, token_ids: torch.Tensor, num_top: list[int]) -> list[TokenLogprobs]:
    """Report on one token per row of `[num_rows, vocab]` logits, with `num_top[i]` alternatives in row i.

    Everything travels to the host in one float32 copy, which holds token ids exactly up to 2**24.
    """
    width = min(max(num_top), logits.shape[-1])
    log_probabilities = logits.log_softmax(-1)
    chosen = log_probabilities.gather(1, token_ids[:, None])
    top_values, top_ids = log_probabilities.topk(width)
    rows = torch.cat((token_ids[:, None].to(chosen.dtype), chosen, top_ids.to(chosen.dtype), top_values), dim=1)
    reports = []
    for (token_id, logprob, *top), count in zip(rows.tolist(), num_top, strict=True):
        ids, values = top[:width], top[width:]
        alternatives = tuple((int(i), value) for i, value in zip(ids[:count], values[:count], strict=True))
        reports.append(TokenLogprobs(int(token_id), logprob, alternatives))
    return reports
