"""The body of `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.base import RequestModel, refusal, shortened
from app.api.schemas.sampling import NumLogprobs, SamplingFields
from app.api.schemas.tools import Tool, ToolCall, supported_choice

NOT_VARIABLES = {"self", "messages", "tools", "add_generation_prompt", "continue_final_message"}


class TextPart(RequestModel):
    """A part of a message's content."""

    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _only_text(cls, data: Any) -> Any:
        kind = data.get("type", "text") if isinstance(data, dict) else "text"
        if kind != "text":
            shown = shortened(repr(kind))
            message = f"Content parts of type {shown} are not supported by this server; send 'text' parts."
            raise refusal("unsupported_parameter", message, "type")
        return data


def _as_parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _supported_role(value: Any) -> Any:
    if value == "function":
        message = "Messages with the role 'function' are not supported by this server; send them as 'tool'."
        raise refusal("unsupported_parameter", message)
    return value


class ChatMessage(RequestModel):
    """One turn of the conversation. Only the assistant calls tools and reasons, and may do so without content."""

    not_done: ClassVar = {"function_call": (), "audio": (), "refusal": ()}

    role: Annotated[Literal["system", "developer", "user", "assistant", "tool"], BeforeValidator(_supported_role)]
    content: Annotated[
        list[TextPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart]), Field(min_length=1)
    ] = Field([])
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = Field([])
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _fields_fit_the_role(self) -> ChatMessage:
        if self.role != "assistant":
            for name in ("tool_calls", "reasoning_content"):
                if getattr(self, name):
                    raise refusal("invalid_value", f"Only a message of the assistant has '{name}'.", name)
        if self.tool_call_id is not None and self.role != "tool":
            raise refusal("invalid_value", "Only a message of a tool has 'tool_call_id'.", "tool_call_id")
        if not self.content and not self.tool_calls:
            raise refusal("missing_required_parameter", "The message has no 'content'.", "content")
        return self

    def for_template(self) -> dict[str, Any]:
        """What a chat template understands: one text, and `system` for what OpenAI now calls `developer`."""
        message: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": "\n".join(part.text for part in self.content),
        }
        if self.tool_calls:
            message["tool_calls"] = [call.for_template() for call in self.tool_calls]
        others = {name: getattr(self, name) for name in ("name", "reasoning_content", "tool_call_id")}
        return message | {name: value for name, value in others.items() if value is not None}


def _template_variables(value: dict[str, Any]) -> dict[str, Any]:
    for name in NOT_VARIABLES & value.keys():
        raise refusal("invalid_value", f"'{name}' is not a variable of a chat template.", name)
    return value


class ChatCompletionRequest(SamplingFields):
    """A conversation to answer, in the fields of OpenAI's chat completions and some of our own."""

    not_done: ClassVar = {
        "parallel_tool_calls": (True,),
        "functions": ([],),
        "function_call": ("none",),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "audio": (),
        "prediction": (),
        "reasoning_effort": (),
        "verbosity": (),
        "web_search_options": (),
        "moderation": (),
        "prompt_cache_options": (),
        "prompt_cache_retention": (),
        "store": (False,),
        "service_tier": ("auto", "default"),
    }

    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[Tool] = Field([])
    tool_choice: Annotated[Literal["auto", "none"] | None, BeforeValidator(supported_choice)] = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: NumLogprobs | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(_template_variables)] = Field({})

    def disagreements(self) -> Iterator[PydanticCustomError]:
        yield from super().disagreements()
        if self.tool_choice == "auto" and not self.tools:
            yield refusal("invalid_value", "'tool_choice' needs 'tools'.", "tool_choice")
        if self.top_logprobs is not None and not self.logprobs:
            yield refusal("invalid_value", "'top_logprobs' needs 'logprobs': true.", "top_logprobs")
        if self.continue_final_message and self.add_generation_prompt:
            message = "A message cannot be continued behind a generation prompt; leave 'add_generation_prompt' out."
            yield refusal("invalid_value", message, "add_generation_prompt")
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            message = "'max_tokens' and 'max_completion_tokens' mean the same and differ; send one of them."
            yield refusal("invalid_value", message, "max_tokens")

    @property
    def offered_tools(self) -> list[Tool]:
        """The tools that the model is told of."""
        return [] if self.tool_choice == "none" else self.tools

    @property
    def template_kwargs(self) -> dict[str, Any]:
        """How the template is to be applied: the assistant's turn is begun, unless its last message goes on."""
        begins = not self.continue_final_message if self.add_generation_prompt is None else self.add_generation_prompt
        how = {"add_generation_prompt": begins, "continue_final_message": self.continue_final_message}
        return self.chat_template_kwargs | how

    @property
    def wanted_tokens(self) -> tuple[str, int | None]:
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return super().wanted_tokens

    @property
    def wanted_logprobs(self) -> dict[str, int | None]:
        return super().wanted_logprobs | {"top_logprobs": self.top_logprobs}

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None
