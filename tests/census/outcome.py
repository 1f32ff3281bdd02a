"""What became of one model type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["equal", "refused", "wrong", "crash", "not built"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason`: that of a refusal, the error of a crash or what transformers cannot build, or how it is wrong.

    `difference`: the largest between logprobs of chosen tokens. `distinct`: how many different tokens were chosen.
    """

    verdict: Verdict
    reason: str = ""
    backend: str = ""
    difference: float = 0.0
    distinct: int = 0
