"""Tools in the body of a chat completion: what the model may call, and what it has called before."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import from_json

from app.api.excerpts import shortened
from app.api.openai.schemas.constraints import written_json
from app.api.wire.request_model import RequestModel, refusal
from app.constraints.calls import CallableTool

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class FunctionDefinition(RequestModel):
    """A function that the model may call. `parameters` is a JSON schema, which `strict` enforces whole or refuses."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False


class Tool(RequestModel):
    """`cache_control` asks other servers to cache this, which happens here anyway."""

    type: Literal["function"]
    function: FunctionDefinition
    cache_control: dict[str, Any] | None = None

    def for_template(self) -> dict[str, Any]:
        return {"type": self.type, "function": self.function.model_dump(exclude={"strict"}, exclude_none=True)}

    def callable(self) -> CallableTool:
        parameters = self.function.parameters
        written = "" if parameters is None else written_json(parameters)
        return CallableTool(self.function.name, written, self.function.strict)


def _as_object(value: Any) -> Any:
    """The arguments of a call as an object. It is empty where the model wrote something else or broke off within it: a
    conversation must not end because of what the model once did, and templates can only write an object.
    """
    if not isinstance(value, str | list | dict):
        message = "The arguments of a call must be a JSON object, or a string with the text of one"
        raise refusal("invalid_value", f"{message}, not {shortened(repr(value))}.")
    parsed = _parsed(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, dict) else {}


def _parsed(text: str) -> Any:
    """Parse JSON; None if the text is not JSON. Raises the refusal of JSON that could not be written as text again."""
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
        message = "The arguments of a call contain half of a surrogate pair, which is not a character."
        raise refusal("invalid_value", message) from error
    except ValueError:
        pass
    return None


class CalledFunction(RequestModel):
    """`arguments` is an object or its text. Neither it nor the name has to fit a tool that is offered now."""

    name: str
    arguments: Annotated[
        dict[str, Any], BeforeValidator(_as_object, json_schema_input_type=str | dict[str, Any] | list[Any])
    ] = Field({})


class ToolCall(RequestModel):
    """A call in a message of the assistant. Streams number calls by `index`, which may be sent back."""

    id: str | None = None
    index: int | None = None
    type: Literal["function"]
    function: CalledFunction

    def for_template(self) -> dict[str, Any]:
        """The call as chat templates take it: they get the arguments as an object, and write it themselves."""
        function = {"name": self.function.name, "arguments": self.function.arguments}
        return {"id": self.id, "type": self.type, "function": function}
