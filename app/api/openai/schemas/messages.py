"""The messages of a conversation, in the body of a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.excerpts import shortened
from app.api.openai.schemas.tools import ToolCall
from app.api.wire.request_model import RequestModel, refusal


class TextPart(RequestModel):
    """A part of a message's content. What `cache_control` asks of other servers happens here anyway."""

    type: Literal["text"]
    text: str
    cache_control: dict[str, Any] | None = None

    @classmethod
    def wrong_kind(cls, data: Mapping[str, Any]) -> PydanticCustomError | None:
        """Another kind of part is reported by its type alone: its other fields belong to that."""
        kind = data.get("type", "text")
        if kind == "text":
            return None
        message = f"Content parts of type {shortened(repr(kind))} are not supported by this server; send 'text' parts."
        return refusal("unsupported_parameter", message, "type")


def _as_parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _supported_role(value: Any) -> Any:
    if value == "function":
        message = "Messages with the role 'function' are not supported by this server; send them as 'tool'."
        raise refusal("unsupported_parameter", message)
    return value


class ChatMessage(RequestModel):
    """One turn of the conversation. Only the assistant calls tools, reasons or refuses, with or without content.

    Whatever a server reports with an answer may be sent back with it: `reasoning` is another name for
    `reasoning_content`, a `refusal` is what the assistant said where there is no content, and `annotations` and
    `cache_control` mean nothing to the model.
    """

    not_done: ClassVar = {"function_call": (), "audio": ()}

    role: Annotated[Literal["system", "developer", "user", "assistant", "tool"], BeforeValidator(_supported_role)]
    content: Annotated[list[TextPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart])] = Field(
        []
    )
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    cache_control: dict[str, Any] | None = None
    tool_calls: list[ToolCall] = Field([])
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _fields_fit_the_role(self) -> ChatMessage:
        if self.role != "assistant":
            for name in ("tool_calls", "reasoning_content", "reasoning", "refusal", "annotations"):
                if getattr(self, name):
                    raise refusal("invalid_value", f"Only a message of the assistant has '{name}'.", name)
            if not self.content:
                raise refusal("missing_required_parameter", "The message has no 'content'.", "content")
        if self.tool_call_id is not None and self.role != "tool":
            raise refusal("invalid_value", "Only a message of a tool has 'tool_call_id'.", "tool_call_id")
        return self

    @property
    def written(self) -> str:
        """The content as one text."""
        return "\n".join(part.text for part in self.content) or self.refusal or ""

    def for_template(self) -> dict[str, Any]:
        """The message as chat templates take it: one text, and `system` for what OpenAI now calls `developer`."""
        message: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": self.written,
        }
        if self.tool_calls:
            message["tool_calls"] = [call.for_template() for call in self.tool_calls]
        others = {
            "name": self.name,
            "reasoning_content": self.reasoning_content or self.reasoning,
            "tool_call_id": self.tool_call_id,
        }
        return message | {name: value for name, value in others.items() if value is not None}
