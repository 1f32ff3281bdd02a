"""The body of `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.generation.request import FieldNames, GenerationRequest
from app.api.openai.schemas.sampling import NumLogprobs, SamplingFields
from app.api.wire.request_model import refusal

PROMPT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "minItems": 1},
    ]
}


def _prompts(value: Any) -> list[str | list[int]]:
    """One prompt or several, each a text or token ids. Checked by hand: one clear message instead of one per shape."""
    if isinstance(value, str) or _is_token_ids(value):
        prompts = [value]
    elif isinstance(value, list) and (
        all(isinstance(prompt, str) for prompt in value) or all(_is_token_ids(prompt) for prompt in value)
    ):
        prompts = value
    else:
        raise refusal(
            "invalid_type",
            "'prompt' must be a string, a list of strings, a list of token ids, or a list of lists of token ids.",
        )
    if not prompts or [] in prompts:
        raise refusal("invalid_value", "'prompt' must not be empty.")
    return prompts


def _is_token_ids(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) == {int}


class CompletionRequest(SamplingFields):
    """A prompt to continue, in the fields of OpenAI's completions and some of our own."""

    not_done: ClassVar = {"suffix": ("",)}
    stand_ins: ClassVar = {"prompt": "-"}
    default_max_tokens: ClassVar = 16

    prompt: Annotated[list[str | list[int]], PlainValidator(_prompts), WithJsonSchema(PROMPT_SCHEMA)]
    best_of: int | None = None
    echo: bool = False
    logprobs: NumLogprobs | None = None
    add_special_tokens: bool = True

    def disagreements(self) -> Iterator[PydanticCustomError]:
        yield from super().disagreements()
        if self.best_of not in (None, self.n):
            yield refusal(
                "unsupported_parameter", f"'best_of' is only supported equal to 'n', which is {self.n}.", "best_of"
            )
        if self.max_tokens == 0 and not self.echo:
            yield refusal("invalid_value", "'max_tokens' of 0 needs 'echo': true; send 1 or more.", "max_tokens")

    @property
    def num_logprobs(self) -> int | None:
        return self.logprobs

    def neutral(self) -> GenerationRequest:
        request = self.neutral_with(self.prompt, FieldNames(), self.max_tokens)
        return replace(request, echo=self.echo, adds_special_tokens=self.add_special_tokens)


def sampling_default_faults(defaults: Mapping[str, object]) -> list[str]:
    """What a request could not say either of the sampling defaults that a model is published with."""
    try:
        CompletionRequest.model_validate({**CompletionRequest.stand_ins, **defaults})
    except ValidationError as error:
        return [f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}" for fault in error.errors()]
    return []
