"""The body of `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.api.excerpts import shortened
from app.api.generation.request import Conversation, FieldNames, GenerationRequest
from app.api.openai.schemas.messages import ChatMessage
from app.api.openai.schemas.sampling import NumLogprobs, SamplingFields
from app.api.openai.schemas.tool_choice import ToolChoiceField
from app.api.openai.schemas.tools import Tool
from app.api.wire.request_model import refusal
from app.constraints.reply import Calls

NOT_VARIABLES = {"self", "messages", "tools", "add_generation_prompt", "continue_final_message"}


def _template_variables(value: dict[str, Any]) -> dict[str, Any]:
    for name in NOT_VARIABLES & value.keys():
        raise refusal("invalid_value", f"'{name}' is not a variable of a chat template.", name)
    return value


class ChatCompletionRequest(SamplingFields):
    """A conversation to answer, in the fields of OpenAI's chat completions and some of our own."""

    not_done: ClassVar = {
        "functions": ([],),
        "function_call": ("none",),
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
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool = True
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: NumLogprobs | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(_template_variables)] = Field({})

    def disagreements(self) -> Iterator[PydanticCustomError]:
        yield from super().disagreements()
        yield from self._choice_disagreements()
        if self.top_logprobs is not None and not self.logprobs:
            yield refusal("invalid_value", "'top_logprobs' needs 'logprobs': true.", "top_logprobs")
        if self.continue_final_message and self.add_generation_prompt:
            message = "A message cannot be continued behind a generation prompt; leave 'add_generation_prompt' out."
            yield refusal("invalid_value", message, "add_generation_prompt")
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            message = "'max_tokens' and 'max_completion_tokens' mean the same and differ; send one of them."
            yield refusal("invalid_value", message, "max_tokens")

    def _choice_disagreements(self) -> Iterator[PydanticCustomError]:
        choice = self.tool_choice
        if choice is None or choice.type == "none":
            return
        if not self.tools:
            yield refusal("invalid_value", "'tool_choice' needs 'tools'.", "tool_choice")
        elif unknown := sorted(choice.names - {tool.function.name for tool in self.tools}):
            message = f"'tool_choice' names {shortened(repr(unknown[0]))}, which is none of 'tools'."
            yield refusal("invalid_value", message, "tool_choice")
        if choice.is_required and (field := next((field for field, _ in self.asked_constraints()), None)):
            message = (
                f"'tool_choice' requires a call, and '{field}' holds the answer to another form; send one of them."
            )
            yield refusal("invalid_value", message, "tool_choice")

    @property
    def offered_tools(self) -> list[Tool]:
        """The tools that the model gets to know."""
        return [] if self.tool_choice is not None and self.tool_choice.type == "none" else self.tools

    @property
    def callable_tools(self) -> list[Tool]:
        """Those of them that it may call."""
        names = self.tool_choice.names if self.tool_choice is not None else frozenset()
        return [tool for tool in self.offered_tools if not names or tool.function.name in names]

    @property
    def names_call(self) -> bool:
        """Whether the function that is to be called is named."""
        return self.tool_choice is not None and self.tool_choice.type == "function"

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def neutral(self) -> GenerationRequest:
        name, max_tokens = "max_tokens", self.max_tokens
        if self.max_completion_tokens is not None:
            name, max_tokens = "max_completion_tokens", self.max_completion_tokens
        names = FieldNames(prompt="messages", max_tokens=name, logprobs="top_logprobs")
        return replace(self.neutral_with(self.conversation(), names, max_tokens), calls=self._calls())

    def _calls(self) -> Calls | None:
        tools = tuple(tool.callable() for tool in self.callable_tools)
        if not tools:
            return None
        is_required = self.tool_choice is not None and self.tool_choice.is_required
        return Calls(tools, is_required, self.parallel_tool_calls and not self.names_call)

    def conversation(self) -> Conversation:
        """What the template is applied to. It begins the assistant's turn, unless the last message is continued."""
        begins = not self.continue_final_message if self.add_generation_prompt is None else self.add_generation_prompt
        how = {"add_generation_prompt": begins, "continue_final_message": self.continue_final_message}
        return Conversation(
            messages=[message.for_template() for message in self.messages],
            tools=[tool.for_template() for tool in self.offered_tools],
            variables=self.chat_template_kwargs | how,
        )
