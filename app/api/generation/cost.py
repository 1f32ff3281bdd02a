"""What one request may cost, in all: tokens and reports are kept until its last sequence has ended."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.errors import Fault
from app.api.openai.schemas.sampling import SamplingFields


@dataclass(frozen=True, slots=True)
class Account:
    """Values of a request, counted before anything is computed: a token is one, and so is each logprob reported on it.

    Each of `num_choices` choices has the prompts' tokens, and the reports on them, for itself. `per_prompt_token` and
    `per_output_token` are how many values a token is, with the reports.
    """

    num_prompts: int
    num_choices: int
    num_prompt_tokens: int
    per_prompt_token: int
    per_output_token: int

    @classmethod
    def of(cls, prompts: Seq[Seq[int]], body: SamplingFields) -> Account:
        return cls(
            num_prompts=len(prompts),
            num_choices=body.n,
            num_prompt_tokens=sum(map(len, prompts)),
            per_prompt_token=_values_of_token(body.num_prompt_logprobs),
            per_output_token=_values_of_token(body.num_logprobs),
        )

    @property
    def of_prompts(self) -> int:
        return self.num_choices * self.num_prompt_tokens * self.per_prompt_token

    def fault(self, max_tokens: int, limit: int, field: str) -> Fault | None:
        """What to say of a request that is over `limit` with `max_tokens` in each sequence, which `field` asks for."""
        num_output_tokens = self.num_prompts * self.num_choices * max_tokens
        asked = self.of_prompts + num_output_tokens * self.per_output_token
        if asked <= limit:
            return None
        message = (
            f"The request asks for {asked:,} values in all, of at most {limit:,}: {self.num_prompt_tokens:,} tokens in "
            f"{self.num_prompts:,} prompts, n = {self.num_choices}, {field} = {max_tokens:,}; with its logprobs a "
            f"prompt token is {self.per_prompt_token} values, and an output token {self.per_output_token}."
        )
        if (fitting := self.most_output_tokens(limit)) > 0:
            return Fault(f"{message} The largest {field} that fits is {fitting:,}.", field, CODE)
        if (fitting := self.num_prompts * limit // asked) > 0:
            return Fault(f"{message} Send {fitting:,} prompts like these at a time.", "prompt", CODE)
        return Fault(f"{message} Ask for fewer logprobs, or for fewer choices.", "n", CODE)

    def most_output_tokens(self, limit: int) -> int:
        """That each sequence may have; none or less if the prompts alone are too much."""
        return (limit - self.of_prompts) // (self.num_prompts * self.num_choices * self.per_output_token)


CODE = "request_too_large"


def _values_of_token(num_logprobs: int | None) -> int:
    """Itself, and beside it its own logprob and those of so many alternatives."""
    return 1 if num_logprobs is None else 2 + num_logprobs
