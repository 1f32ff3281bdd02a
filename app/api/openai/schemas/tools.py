"""Tools in the body of a chat completion: what the model may call, and calls that it made before."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import from_json

from app.api.openai.schemas.base import RequestModel, refusal

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class FunctionDefinition(RequestModel):
    """A function that the model may call. `parameters` is a JSON schema."""

    not_done: ClassVar = {"strict": (False,)}

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(RequestModel):
    """`cache_control` says what another server is to cache, which is done here anyway."""

    type: Literal["function"]
    function: FunctionDefinition
    cache_control: dict[str, Any] | None = None

    def for_template(self) -> dict[str, Any]:
        return {"type": self.type, "function": self.function.model_dump(exclude_none=True)}


def _as_object(value: Any) -> Any:
    """The object that a call's arguments are. A model may have written none, or broken off within it: then it is empty,
    for a conversation must not end with what the model once did, and templates can only write an object.
    """
    parsed = _parsed(value) if isinstance(value, str) else value
    return {} if isinstance(value, str | list) and not isinstance(parsed, dict) else parsed


def _parsed(text: str) -> Any:
    """What the text is in JSON; None if it is none. What no other text could be made of is refused."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise refusal("invalid_value", "The arguments of a call are nested too deeply.") from error
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except RecursionError as error:
        raise refusal("invalid_value", "The arguments of a call are nested too deeply.") from error
    except UnicodeEncodeError as error:
        message = "The arguments of a call have half of a surrogate pair, which is no character."
        raise refusal("invalid_value", message) from error
    except ValueError:
        pass
    return None


class CalledFunction(RequestModel):
    """`arguments` is an object or its text. Neither it nor the name need be what a tool that is offered now takes."""

    name: str
    arguments: Annotated[
        dict[str, Any], BeforeValidator(_as_object, json_schema_input_type=str | dict[str, Any] | list[Any])
    ] = Field({})


class ToolCall(RequestModel):
    """A call in a message of the assistant. In a stream calls are numbered; a number may be sent back."""

    id: str | None = None
    index: int | None = None
    type: Literal["function"]
    function: CalledFunction

    def for_template(self) -> dict[str, Any]:
        """Templates take the arguments as an object, and write it themselves."""
        function = {"name": self.function.name, "arguments": self.function.arguments}
        return {"id": self.id, "type": self.type, "function": function}


def supported_choice(value: Any) -> Any:
    """`auto` and `none` are done; what forces a call would need constrained decoding."""
    if value in ("auto", "none"):
        return value
    message = '\'tool_choice\' may be "auto" or "none"; forcing a call is not supported by this server yet.'
    raise refusal("unsupported_parameter", message)
