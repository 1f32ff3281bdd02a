"""Log-probabilities of sampled tokens and of their most likely alternatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from app.messages import TokenLogprobs


@dataclass(frozen=True, slots=True)
class LogprobRows:
    """The logprobs to report, one row per token, with `num_top[i]` alternatives for the i-th.

    `rows`: float32, `[num_tokens, 2 + 2 * width]`, the token and its logprob, then alternatives' ids and their
    logprobs, so that everything is copied to the host at once. float32 holds token ids exactly up to 2**24.
    """

    rows: torch.Tensor
    num_top: list[int]

    def read(self, rows: torch.Tensor) -> list[TokenLogprobs]:
        """The reports, from a copy of the rows that is on the host."""
        width = (rows.shape[1] - 2) // 2
        reports = []
        for (token_id, logprob, *top), count in zip(rows.tolist(), self.num_top, strict=True):
            ids, values = top[:width], top[width:]
            alternatives = tuple((int(i), value) for i, value in zip(ids[:count], values[:count], strict=True))
            reports.append(TokenLogprobs(int(token_id), logprob, alternatives))
        return reports


def gather_logprobs(logits: torch.Tensor, token_ids: torch.Tensor, num_top: list[int]) -> LogprobRows:
    """Report on one token per row of `[num_rows, vocab]` logits, with `num_top[i]` alternatives in row i."""
    log_probabilities = logits.log_softmax(-1)
    chosen = log_probabilities.gather(1, token_ids[:, None])
    top_values, top_ids = log_probabilities.topk(min(max(num_top), logits.shape[-1]))
    ids = (token_ids[:, None].to(chosen.dtype), top_ids.to(chosen.dtype))
    return LogprobRows(torch.cat((ids[0], chosen, ids[1], top_values), dim=1), num_top)
