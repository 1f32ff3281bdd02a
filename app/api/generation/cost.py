"""What one request may cost in all: its tokens and the reports on them are kept until its last sequence ends."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.errors import Fault
from app.api.excerpts import counted
from app.api.generation.request import FieldNames, GenerationRequest

CODE = "request_too_large"


@dataclass(frozen=True, slots=True)
class Cost:
    """The values of a request, counted before anything is computed: a token is one, and so is each logprob reported
    about it.

    Each of `num_choices` choices has its own copy of the prompts' tokens and of the reports on them. `per_prompt_token`
    and `per_output_token` are how many values a token is, including the reports.
    """

    num_prompts: int
    num_choices: int
    num_prompt_tokens: int
    per_prompt_token: int
    per_output_token: int

    @classmethod
    def of(cls, prompts: Seq[Seq[int]], request: GenerationRequest) -> Cost:
        return cls(
            num_prompts=len(prompts),
            num_choices=request.num_choices,
            num_prompt_tokens=sum(map(len, prompts)),
            per_prompt_token=_values_per_token(request.num_prompt_logprobs),
            per_output_token=_values_per_token(request.num_logprobs),
        )

    @property
    def of_prompts(self) -> int:
        return self.num_choices * self.num_prompt_tokens * self.per_prompt_token

    def fault(self, max_tokens: int, limit: int, names: FieldNames) -> Fault | None:
        """What is wrong with `max_tokens` for each sequence, if that takes the request over `limit` values."""
        field = names.max_tokens
        num_output_tokens = self.num_prompts * self.num_choices * max_tokens
        asked = self.of_prompts + num_output_tokens * self.per_output_token
        if asked <= limit:
            return None
        message = (
            f"The request asks for {asked:,} values in all; this server allows {limit:,} (max_values_per_request): "
            f"{counted(self.num_prompt_tokens, 'token')} in {counted(self.num_prompts, 'prompt')}, "
            f"{names.num_choices} = {self.num_choices}, {field} = {max_tokens:,}; with its logprobs a prompt token is "
            f"{counted(self.per_prompt_token, 'value')}, and an output token {self.per_output_token}."
        )
        if (fitting := self.max_output_tokens(limit)) > 0:
            return Fault(f"{message} The largest {field} that fits is {fitting:,}.", field, CODE)
        if (fitting := self.num_prompts * limit // asked) > 0:
            return Fault(f"{message} Send {counted(fitting, 'prompt')} like these at a time.", names.prompt, CODE)
        return Fault(f"{message} Ask for fewer logprobs, or for fewer choices.", names.num_choices, CODE)

    def max_output_tokens(self, limit: int) -> int:
        """How many tokens each sequence may have; 0 or less if the prompts alone are too much."""
        return (limit - self.of_prompts) // (self.num_prompts * self.num_choices * self.per_output_token)


def _values_per_token(num_logprobs: int | None) -> int:
    """The token itself and, if logprobs are reported, its own and those of so many alternatives."""
    return 1 if num_logprobs is None else 2 + num_logprobs
