"""Which tools a chat completion may call, and whether it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.api.openai.schemas.tools import Name
from app.api.wire.request_model import RequestModel, refusal

Word = Literal["none", "auto", "required"]
WORDS = ("none", "auto", "required")


class FunctionName(RequestModel):
    name: Name


class NamedTool(RequestModel):
    type: Literal["function"]
    function: FunctionName


class AllowedTools(RequestModel):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class ToolChoice(RequestModel):
    """A word of OpenAI's, which stands by itself, or an object that names one function or several that are allowed."""

    type: Literal["none", "auto", "required", "function", "allowed_tools"]
    function: FunctionName | None = None
    allowed_tools: AllowedTools | None = None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        for name in ("function", "allowed_tools"):
            if (getattr(self, name) is None) is (self.type == name):
                message = f"A 'tool_choice' of the type '{self.type}' has {'no ' if self.type != name else ''}'{name}'."
                yield refusal("invalid_value", message, name)

    @property
    def is_required(self) -> bool:
        """Whether a tool must be called."""
        is_required = self.allowed_tools is not None and self.allowed_tools.mode == "required"
        return is_required or self.type in ("required", "function")

    @property
    def names(self) -> frozenset[str]:
        """The tools that may be called; empty if all may be."""
        if self.function is not None:
            return frozenset([self.function.name])
        allowed = self.allowed_tools.tools if self.allowed_tools is not None else []
        return frozenset(tool.function.name for tool in allowed)


def _as_choice(value: Any) -> Any:
    if isinstance(value, str) and value in WORDS:
        return {"type": value}
    if isinstance(value, dict) and value.get("type") in ("function", "allowed_tools"):
        return value
    message = (
        '\'tool_choice\' may be "none", "auto", "required", {"type": "function", "function": {"name": …}} or '
        '{"type": "allowed_tools", "allowed_tools": {"mode": …, "tools": […]}}.'
    )
    raise refusal("invalid_value", message)


ToolChoiceField = Annotated[ToolChoice, BeforeValidator(_as_choice, json_schema_input_type=Word | ToolChoice)]
