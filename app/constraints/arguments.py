"""Arguments of calls as a model's format writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from app.constraints.errors import ConstraintError
from app.constraints.json_grammar import json_rule
from app.constraints.lark_writer import LarkWriter
from app.text.replies.format import Arguments, PythonArguments, TaggedArguments
from app.text.replies.values import types_of

Schema = dict[str, Any]

_OF_OBJECTS = frozenset(
    {"type", "properties", "required", "additionalProperties", "$defs", "definitions", "$schema", "$id", "title"}
    | {"description", "default", "examples", "$comment", "deprecated"}
)
"""What the schema of arguments that stand one by one may have and be enforced whole."""

MAX_PROPERTIES = 200
"""Of a tool whose arguments stand one by one, each in rules of its own."""

_OF_STRINGS = ("pattern", "format", "minLength", "maxLength")
"""What a schema may ask of a string, and cannot be asked of one that stands as it is between tags."""


def write_arguments(writer: LarkWriter, arguments: Arguments, parameters: Schema, *, strict: bool) -> str:
    """The expression of arguments that fit the parameters, a schema of an object.

    Raises ConstraintError. Where arguments stand one by one, they come in the order of the properties, and none that
    is not among these.
    """
    if isinstance(arguments, TaggedArguments):
        return _Tagged(writer, arguments, parameters, strict=strict).write()
    if isinstance(arguments, PythonArguments):
        return _Python(writer, parameters, strict=strict).write()
    return writer.rule(json_rule(parameters, strict=strict))


class _OneByOne:
    """Arguments that stand each by itself. Their names match `name`."""

    name = re.compile(r"[\w-]+")

    def __init__(self, writer: LarkWriter, parameters: Schema, *, strict: bool) -> None:
        self.writer = writer
        self.parameters = parameters
        self.strict = strict
        properties = parameters.get("properties", {})
        if not isinstance(properties, dict):
            raise ConstraintError("#/properties is not an object.", keyword="properties", pointer="#/properties")
        required = parameters.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ConstraintError("#/required is not a list of names.", keyword="required", pointer="#/required")
        every: dict[str, Any] = properties | {name: True for name in required if name not in properties}
        self.properties = {name: schema for name, schema in every.items() if self.name.fullmatch(name)}
        if unsaid := next((name for name in required if name not in self.properties), None):
            message = f"#/required: this model's form of calls has no argument of the name {unsaid!r}."
            raise ConstraintError(message, keyword="required", pointer="#/required")
        if strict and (asked := next((keyword for keyword in parameters if keyword not in _OF_OBJECTS), None)):
            message = f"#/{asked}: `{asked}` cannot be enforced in this model's form of calls."
            raise ConstraintError(message, keyword=asked, pointer=f"#/{asked}")
        if len(self.properties) > MAX_PROPERTIES:
            message = (
                f"#/properties: a tool has at most {MAX_PROPERTIES} arguments; this one has {len(self.properties)}."
            )
            raise ConstraintError(message, keyword="properties", pointer="#/properties")
        self.required = frozenset(required)

    def json_value(self, name: str) -> str:
        """The value of an argument as JSON."""
        schema = self.properties[name]
        if isinstance(schema, dict):
            shared = {
                key: self.parameters[key] for key in ("$schema", "$defs", "definitions") if key in self.parameters
            }
            schema = shared | schema
        # Each is a copy: reading a schema rewrites it.
        return self.writer.rule(json_rule(json.loads(json.dumps(schema)), strict=self.strict))


class _Tagged(_OneByOne):
    def __init__(self, writer: LarkWriter, tags: TaggedArguments, parameters: Schema, *, strict: bool) -> None:
        super().__init__(writer, parameters, strict=strict)
        self._tags = tags

    def write(self) -> str:
        return " ".join([self._argument(name) for name in self.properties]) or '""'

    def _argument(self, name: str) -> str:
        tags = self._tags
        begin = self.writer.text(f"{tags.key_begin}{name}{tags.key_end}")
        argument = self.writer.rule(f"{begin} {self._value(name)}")
        return argument if name in self.required else f"{argument}?"

    def _value(self, name: str) -> str:
        """A value and its end. A string ends where a reader sees it end, white space before that belongs to neither."""
        types = types_of(self.parameters, name)
        if types and "string" not in types:
            return f"{self.json_value(name)} {self.writer.text(self._tags.value_end)}"
        schema = self.properties[name]
        schema = schema if isinstance(schema, dict) else {}
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(choices, list) and choices and all(isinstance(choice, str) for choice in choices):
            ends = self.writer.text(self._tags.value_end)
            return f"({' | '.join(self.writer.text(choice) for choice in choices)}) {ends}"
        if self.strict and (asked := next((keyword for keyword in _OF_STRINGS if keyword in schema), None)):
            pointer = f"#/properties/{name}/{asked}"
            message = f"{pointer}: `{asked}` cannot be enforced in the form in which this model writes strings."
            raise ConstraintError(message, keyword=asked, pointer=pointer)
        return self.writer.text_until(self._tags.value_end.lstrip())


class _Python(_OneByOne):
    name = re.compile(r"[^\W\d]\w*")

    def write(self) -> str:
        """One rule for what may follow before and after the first argument that is written."""
        names = list(self.properties)

        @cache
        def rest(at: int, is_first: bool) -> str:
            if at == len(names):
                return '""'
            name = names[at]
            separator = "" if is_first else ", "
            written = f"{self.writer.text(f'{separator}{name}=')} {self._value(name)} {rest(at + 1, False)}"
            if name in self.required:
                return self.writer.rule(written)
            return self.writer.rule(f"{written} | {rest(at + 1, is_first)}")

        for at in range(len(names), 0, -1):  # from the last, so that nothing recurses deeply
            rest(at, False)
            rest(at, True)
        return rest(0, True)

    def _value(self, name: str) -> str:
        if types_of(self.parameters, name) == {"boolean"}:
            return '("True" | "False")'
        return self.json_value(name)


def object_schema(parameters: Mapping[str, Any] | None) -> Schema:
    """The schema of a tool's arguments, which are an object whatever it says. Without a schema there are none."""
    if parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return dict(parameters) if "type" in parameters else {**parameters, "type": "object"}
