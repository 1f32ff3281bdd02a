"""The fields that completions and chat have in common, and how they become a neutral request."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.api.generation.request import Conversation, FieldNames, GenerationRequest
from app.api.openai.schemas.constraints import ConstraintFields
from app.api.wire.request_model import RequestModel, refusal
from app.messages import Sampling

NumLogprobs = Annotated[int, Field(ge=0)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _token_bias(value: Any) -> Any:
    """Token ids are strings here, since they are the keys of a JSON object."""
    if not isinstance(value, dict):
        return value
    for key in value:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise refusal("invalid_value", "The keys of 'logit_bias' must be token ids, as in {\"50256\": -100}.", key)
    return {int(key): bias for key, bias in value.items()}


class StreamOptions(RequestModel):
    """When a stream reports its usage."""

    not_done: ClassVar = {"include_obfuscation": (False,)}

    include_usage: bool = False
    continuous_usage_stats: bool = False

    def disagreements(self) -> Iterator[PydanticCustomError]:
        if self.continuous_usage_stats and not self.include_usage:
            message = "'continuous_usage_stats' is only allowed with 'include_usage': true."
            yield refusal("invalid_value", message, "continuous_usage_stats")


class SamplingFields(ConstraintFields):
    """How to sample, when to stop and how to answer.

    `user`, `metadata`, `safety_identifier` and `prompt_cache_key` describe the caller and ask for nothing.
    """

    default_max_tokens: ClassVar[int | None] = None

    model: str | None = None
    n: int = Field(1, ge=1)
    stream: bool = False
    stream_options: StreamOptions | None = None

    max_tokens: int | None = Field(None, ge=0)
    min_tokens: int = Field(0, ge=0)
    stop: Annotated[
        list[Annotated[str, StringConstraints(min_length=1)]],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ] = Field([])
    stop_token_ids: list[int] = Field([])
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True

    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    top_k: int = Field(0, ge=-1, lt=2**31)
    min_p: float = Field(0.0, ge=0, le=1)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    logit_bias: Annotated[
        dict[int, Annotated[float, Field(ge=-100, le=100)]],
        BeforeValidator(_token_bias, json_schema_input_type=dict[str, float]),
    ] = Field({})
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    prompt_logprobs: NumLogprobs | None = None

    priority: int = Field(0, ge=-(2**31), lt=2**31)
    cache_salt: str = Field("", max_length=256)

    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        yield from super().disagreements()
        if self.stream_options is not None and not self.stream:
            yield refusal("invalid_value", "'stream_options' is only allowed with 'stream': true.", "stream_options")
        if self.min_tokens and self.stop:
            message = "'min_tokens' is not supported together with 'stop', whose strings may come earlier."
            yield refusal("unsupported_parameter", message, "min_tokens")
        if self.stream and self.prompt_logprobs is not None:
            yield refusal("invalid_value", "'prompt_logprobs' is not available with 'stream': true.", "prompt_logprobs")

    @property
    def num_logprobs(self) -> int | None:
        """How many alternatives to report beside each output token; None reports nothing."""
        raise NotImplementedError

    def neutral_with(
        self, prompts: Seq[str | list[int]] | Conversation, names: FieldNames, max_tokens: int | None
    ) -> GenerationRequest:
        """The neutral request with these prompts; `max_tokens` is what the fields that bound the output say."""
        field, constraint = next(self.asked_constraints(), (names.constraint, None))
        return GenerationRequest(
            model=self.model,
            prompts=prompts,
            sampling=self.sampling,
            given=self.model_fields_set,
            names=replace(names, constraint=field),
            num_choices=self.n,
            max_tokens=max_tokens,
            default_max_tokens=self.default_max_tokens,
            min_tokens=self.min_tokens,
            stop=self.stop,
            stop_token_ids=self.stop_token_ids,
            ignore_eos=self.ignore_eos,
            includes_stop_string=self.include_stop_str_in_output,
            skips_special_tokens=self.skip_special_tokens,
            seed=self.seed,
            num_logprobs=self.num_logprobs,
            prompt_logprobs=self.prompt_logprobs,
            stream=self.stream,
            priority=self.priority,
            cache_salt=self.cache_salt,
            constraint=constraint,
        )

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty,
            logit_bias=tuple(self.logit_bias.items()),
        )
