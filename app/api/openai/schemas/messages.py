"""The messages of a conversation, in the body of a chat completion."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from app.api.openai.schemas.base import RequestModel, refusal, shortened
from app.api.openai.schemas.tools import ToolCall


class TextPart(RequestModel):
    """A part of a message's content. What `cache_control` asks of other servers is done here anyway."""

    type: Literal["text"]
    text: str
    cache_control: dict[str, Any] | None = None

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
    """One turn of the conversation. Only the assistant calls tools, reasons or refuses, with content or without.

    What any server says of an answer may be sent back with it: `reasoning` is another name of `reasoning_content`, a
    `refusal` is what the assistant said where there is no content, and `annotations` and `cache_control` are nothing to
    the model.
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

    def for_template(self) -> dict[str, Any]:
        """What a chat template understands: one text, and `system` for what OpenAI now calls `developer`."""
        message: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": "\n".join(part.text for part in self.content) or self.refusal or "",
        }
        if self.tool_calls:
            message["tool_calls"] = [call.for_template() for call in self.tool_calls]
        others = {
            "name": self.name,
            "reasoning_content": self.reasoning_content or self.reasoning,
            "tool_call_id": self.tool_call_id,
        }
        return message | {name: value for name, value in others.items() if value is not None}
