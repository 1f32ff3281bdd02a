"""The neutral request: what every dialect's request becomes, and all that the core knows of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Set
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from app.api.wire.request_model import RequestModel
from app.constraints.reply import Calls
from app.messages import Constraint, Sampling

GREEDY_BELOW = 1e-4
"""In float32 a lower temperature is greedy, or overflows."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What a dialect calls the fields that errors name."""

    prompt: str = "prompt"
    num_choices: str = "n"
    max_tokens: str = "max_tokens"
    min_tokens: str = "min_tokens"
    stop: str = "stop"
    stop_token_ids: str = "stop_token_ids"
    logit_bias: str = "logit_bias"
    logprobs: str = "logprobs"
    prompt_logprobs: str = "prompt_logprobs"
    tools: str = "tools"
    ignore_eos: str = "ignore_eos"
    constraint: str = "constraint"
    tool_choice: str = "tool_choice"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages and tools as chat templates take them, and the variables with which the template is applied."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    variables: dict[str, Any]

    @property
    def is_continued(self) -> bool:
        """Whether the reply goes on with the last message."""
        return bool(self.variables.get("continue_final_message"))


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate and what to report about it.

    `prompts` are texts or token ids, or one conversation. `sampling` holds what the request says and the dialect's
    defaults; where a sampling parameter is not in `given`, the model's own default comes first. `num_logprobs` is how
    many alternatives to report beside each output token, and `prompt_logprobs` beside each prompt token; None reports
    nothing. `echo` sends the prompts back, with logprobs if the output has them. `constraint` is what every answer must
    match, as it was asked for, and `calls` which tools it may or must call.
    """

    model: str | None
    prompts: Seq[str | list[int]] | Conversation
    sampling: Sampling
    given: Set[str]
    names: FieldNames = FieldNames()
    num_choices: int = 1
    max_tokens: int | None = None
    default_max_tokens: int | None = None
    min_tokens: int = 0
    stop: Seq[str] = ()
    stop_token_ids: Seq[int] = ()
    ignore_eos: bool = False
    includes_stop_string: bool = False
    skips_special_tokens: bool = True
    adds_special_tokens: bool = True
    seed: int | None = None
    num_logprobs: int | None = None
    prompt_logprobs: int | None = None
    echo: bool = False
    stream: bool = False
    priority: int = 0
    cache_salt: str = ""
    constraint: Constraint | None = None
    calls: Calls | None = None

    @property
    def num_prompts(self) -> int:
        return 1 if isinstance(self.prompts, Conversation) else len(self.prompts)

    @property
    def num_sequences(self) -> int:
        return self.num_prompts * self.num_choices

    @property
    def num_prompt_logprobs(self) -> int | None:
        """How many alternatives to compute beside each prompt token; None computes nothing."""
        wanted = [self.prompt_logprobs, self.num_logprobs if self.echo else None]
        return max((count for count in wanted if count is not None), default=None)

    def sampling_with(self, defaults: Mapping[str, float]) -> Sampling:
        """How to sample, with the model's `defaults` where the request says nothing, in the form the engine takes."""
        missing = {name: value for name, value in defaults.items() if name not in self.given}
        sampling = replace(self.sampling, **missing)  # type: ignore[arg-type]
        return replace(
            sampling,
            temperature=sampling.temperature if sampling.temperature >= GREEDY_BELOW else 0.0,
            top_k=1 if sampling.top_p == 0 else max(sampling.top_k, 0),
            top_p=sampling.top_p or 1.0,
        )


class GenerationBody(RequestModel):
    """The body of a route that generates. Each dialect has its own, and none is known outside of its room.

    `stand_ins` holds, for each required field, a value that is always right: with it, the other fields can be checked
    although that one is at fault.
    """

    stand_ins: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def neutral(self) -> GenerationRequest:
        """The same request for the core."""
