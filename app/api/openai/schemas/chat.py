"""The body of `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.api.generation.request import Conversation, FieldNames, GenerationRequest
from app.api.openai.schemas.messages import ChatMessage
from app.api.openai.schemas.sampling import NumLogprobs, SamplingFields
from app.api.openai.schemas.tools import Tool, supported_choice
from app.api.wire.request_model import refusal

NOT_VARIABLES = {"self", "messages", "tools", "add_generation_prompt", "continue_final_message"}


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

    stand_ins: ClassVar = {"messages": [{"role": "user", "content": "-"}]}

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
        """The tools that the model gets to know."""
        return [] if self.tool_choice == "none" else self.tools

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def neutral(self) -> GenerationRequest:
        name, max_tokens = "max_tokens", self.max_tokens
        if self.max_completion_tokens is not None:
            name, max_tokens = "max_completion_tokens", self.max_completion_tokens
        names = FieldNames(prompt="messages", max_tokens=name, logprobs="top_logprobs")
        return self.neutral_with(self._conversation(), names, max_tokens)

    def _conversation(self) -> Conversation:
        """What the template is applied to. It begins the assistant's turn, unless the last message is continued."""
        begins = not self.continue_final_message if self.add_generation_prompt is None else self.add_generation_prompt
        how = {"add_generation_prompt": begins, "continue_final_message": self.continue_final_message}
        return Conversation(
            messages=[message.for_template() for message in self.messages],
            tools=[tool.for_template() for tool in self.offered_tools],
            variables=self.chat_template_kwargs | how,
        )
