"""How many tokens a request took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a whole request. A prompt counts once, however many choices share it. Of the prompt tokens,
    `num_cached_tokens` came from the prefix cache.
    """

    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
