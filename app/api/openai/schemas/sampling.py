"""The fields that completions and chat have in common, and how they become `SamplingParams`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.api.openai.schemas.base import RequestModel, refusal
from app.messages import SamplingParams

GREEDY_BELOW = 1e-4

NumLogprobs = Annotated[int, Field(ge=0)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _token_bias(value: Any) -> Any:
    """OpenAI writes token ids as strings here, since they are the keys of a JSON object."""
    if not isinstance(value, dict):
        return value
    for key in value:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise refusal("invalid_value", "The keys of 'logit_bias' must be token ids, as in {\"50256\": -100}.", key)
    return {int(key): bias for key, bias in value.items()}


class StreamOptions(RequestModel):
    """How a stream is sent."""

    not_done: ClassVar = {"include_obfuscation": (False,)}

    include_usage: bool = False
    continuous_usage_stats: bool = False

    def disagreements(self) -> Iterator[PydanticCustomError]:
        if self.continuous_usage_stats and not self.include_usage:
            message = "'continuous_usage_stats' is only allowed with 'include_usage': true."
            yield refusal("invalid_value", message, "continuous_usage_stats")


class SamplingFields(RequestModel):
    """How tokens are chosen, when they end, and how they are sent.

    `user`, `metadata`, `safety_identifier` and `prompt_cache_key` tell about the caller and ask for nothing.
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
        if self.stream_options is not None and not self.stream:
            yield refusal("invalid_value", "'stream_options' is only allowed with 'stream': true.", "stream_options")
        if self.min_tokens and self.stop:
            message = "'min_tokens' is not supported together with 'stop', whose strings may come earlier."
            yield refusal("unsupported_parameter", message, "min_tokens")
        if self.stream and self.prompt_logprobs is not None:
            yield refusal("invalid_value", "'prompt_logprobs' is not available with 'stream': true.", "prompt_logprobs")

    @property
    def wanted_tokens(self) -> tuple[str, int | None]:
        """The field that bounds the output, and what it says."""
        return "max_tokens", self.max_tokens

    @property
    def tells_usage(self) -> StreamOptions:
        """When a stream tells its usage."""
        return self.stream_options or StreamOptions()

    @property
    def wanted_logprobs(self) -> dict[str, int | None]:
        """The fields that ask for alternatives beside a token, and for how many."""
        return {"prompt_logprobs": self.prompt_logprobs}

    @property
    def num_logprobs(self) -> int | None:
        """How many alternatives to report beside each output token; None reports nothing."""
        raise NotImplementedError

    @property
    def num_prompt_logprobs(self) -> int | None:
        """The same for the tokens of the prompt."""
        return self.prompt_logprobs

    def with_defaults(self, defaults: Mapping[str, float]) -> Self:
        """The same request, where what it does not say is what the model's makers say."""
        missing = {name: value for name, value in defaults.items() if name not in self.model_fields_set}
        return self.model_copy(update=missing) if missing else self

    def sampling_params(self, max_tokens: int, seed: int, stop_token_ids: frozenset[int]) -> SamplingParams:
        """What the engine is told. In float32 a temperature below `GREEDY_BELOW` is greedy, or overflows."""
        return SamplingParams(
            max_tokens=max_tokens,
            min_tokens=self.min_tokens,
            temperature=self.temperature if self.temperature >= GREEDY_BELOW else 0.0,
            top_k=1 if self.top_p == 0 else max(self.top_k, 0),
            top_p=self.top_p or 1.0,
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty,
            logit_bias=tuple(self.logit_bias.items()),
            stop_token_ids=stop_token_ids,
            seed=seed,
            logprobs=self.num_logprobs,
            prompt_logprobs=self.num_prompt_logprobs,
        )
