"""What one request may ask for, whoever sends it, as configured."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

MAX_STOP_CHARACTERS = 1024
"""For all stop strings of a request together: each of its sequences searches for them, and keeps state for that."""

MAX_NAMED_TOKENS = 1 << 16
"""For `logit_bias`, and for `stop_token_ids`, over all sequences of a request: every step goes through them."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`max_sequences` bounds prompts times choices, and `max_values` what `generation.cost` counts. Messages name
    `max_sequences_setting` as what sets `max_sequences`.

    `receive_seconds` is how long a body may take to arrive, beyond what its size explains; `request_seconds` is how
    long the whole request may take.
    """

    max_body_bytes: int = 16 * 2**20
    receive_seconds: float = 30.0
    request_seconds: float = inf
    max_sequences: int = 128
    max_sequences_setting: str = "max_sequences_per_request"
    max_stop_strings: int = 16
    max_logprobs: int = 20
    max_values: int = 1 << 20
