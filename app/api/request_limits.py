"""What one request may ask for, whoever asks: as the configuration has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from app.api.errors import Fault, refuse
from app.api.openai.schemas.sampling import SamplingFields

MAX_STOP_CHARACTERS = 1024
"""Of all stop strings of a request together: each of its sequences looks for them, and keeps what that takes."""

MAX_NAMED_TOKENS = 1 << 16
"""In `logit_bias`, and in `stop_token_ids`, of all sequences of a request: steps go through them."""


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
    max_values: int = 1 << 20

    def check(self, body: SamplingFields, num_prompts: int = 1) -> None:
        """Refuse a request that is more than one request may be, as far as its fields alone tell."""
        refuse(self._faults(body, num_prompts))

    def _faults(self, body: SamplingFields, num_prompts: int) -> Iterator[Fault]:
        asked = num_prompts * body.n
        if asked > self.max_sequences:
            message = f"{num_prompts} prompts with n = {body.n} are {asked} sequences, of at most"
            yield Fault(f"{message} {self.max_sequences}.", "n" if num_prompts == 1 else "prompt")
        if len(body.stop) > self.max_stop_strings:
            yield Fault(f"'stop' has {len(body.stop)} strings, of at most {self.max_stop_strings}.", "stop")
        if (length := sum(map(len, body.stop))) > MAX_STOP_CHARACTERS:
            yield Fault(f"'stop' has {length} characters in all, of at most {MAX_STOP_CHARACTERS}.", "stop")
        for name, count in body.wanted_logprobs.items():
            if count is not None and count > self.max_logprobs:
                yield Fault(f"'{name}' is {count}; at most {self.max_logprobs} are reported.", name)
        for name, values in (("logit_bias", body.logit_bias), ("stop_token_ids", body.stop_token_ids)):
            if asked * len(values) > MAX_NAMED_TOKENS:
                message = f"'{name}' has {len(values)} tokens for each of {asked} sequences, of at most"
                yield Fault(f"{message} {MAX_NAMED_TOKENS} together.", name)
