"""Tools in the body of a chat completion: what the model may call, and calls that it made before."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, StringConstraints

from app.api.schemas.base import RequestModel, refusal

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class FunctionDefinition(RequestModel):
    """A function that the model may call. `parameters` is a JSON schema."""

    not_done: ClassVar = {"strict": (False,)}

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(RequestModel):
    type: Literal["function"]
    function: FunctionDefinition

    def for_template(self) -> dict[str, Any]:
        return {"type": self.type, "function": self.function.model_dump(exclude_none=True)}


def _json_object(value: str) -> str:
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise refusal("invalid_value", "The arguments of a call must be the text of a JSON object.")
    return value


class CalledFunction(RequestModel):
    """`arguments` is the text of a JSON object."""

    name: Name
    arguments: Annotated[str, AfterValidator(_json_object)]


class ToolCall(RequestModel):
    """A call in a message of the assistant. In a stream calls are numbered; a number may be sent back."""

    id: str | None = None
    index: int | None = None
    type: Literal["function"]
    function: CalledFunction

    def for_template(self) -> dict[str, Any]:
        """Templates take the arguments as an object, and write it themselves."""
        function = {"name": self.function.name, "arguments": json.loads(self.function.arguments)}
        return {"id": self.id, "type": self.type, "function": function}


def supported_choice(value: Any) -> Any:
    """`auto` and `none` are done; what forces a call would need constrained decoding."""
    if value in ("auto", "none"):
        return value
    message = '\'tool_choice\' may be "auto" or "none"; forcing a call is not supported by this server yet.'
    raise refusal("unsupported_parameter", message)
