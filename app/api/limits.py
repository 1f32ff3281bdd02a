"""What one request may ask for, whoever asks: as the configuration has it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from app.api.errors import invalid
from app.api.schemas.sampling import SamplingFields

MOST_STOP_CHARACTERS = 1024
"""Of all stop strings of a request together: each of its sequences looks for them, and keeps what that takes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_sequences` bounds prompts times choices.

    `receive_seconds` is how long a body may take to come, beside what its size explains; `request_seconds` how long
    the whole request may take.
    """

    max_body_bytes: int = 16 * 2**20
    receive_seconds: float = 30.0
    request_seconds: float = inf
    max_sequences: int = 128
    max_stop_strings: int = 16
    max_logprobs: int = 20

    def check(self, body: SamplingFields, num_prompts: int = 1) -> None:
        """Refuse a request that is more than one request may be."""
        asked = num_prompts * body.n
        if asked > self.max_sequences:
            message = f"{num_prompts} prompts with n = {body.n} are {asked} sequences, of at most"
            raise invalid(f"{message} {self.max_sequences}.", "n" if num_prompts == 1 else "prompt")
        if len(body.stop) > self.max_stop_strings:
            raise invalid(f"'stop' has {len(body.stop)} strings, of at most {self.max_stop_strings}.", "stop")
        if (length := sum(map(len, body.stop))) > MOST_STOP_CHARACTERS:
            raise invalid(f"'stop' has {length} characters in all, of at most {MOST_STOP_CHARACTERS}.", "stop")
        for name, count in body.wanted_logprobs.items():
            if count is not None and count > self.max_logprobs:
                raise invalid(f"'{name}' is {count}; at most {self.max_logprobs} are reported.", name)
