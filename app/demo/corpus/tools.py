"""What a kind of tool is, and a tool of that kind under one of its many names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.demo.corpus.dice import Dice

Json = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter under one of its names; `value` is the role of its value in `Tool.roll`."""

    names: tuple[str, ...]
    kind: str
    value: str
    described: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """A kind of tool. Questions and the reply are templates over the rolled values; `reply` also over its answer."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    described: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    roll: Callable[[Dice], Json]
    questions: tuple[str, ...]
    answer: Callable[[Dice, Values], Json]
    reply: str


@dataclass(frozen=True)
class NamedTool:
    """A tool under one name, with one name for each parameter."""

    tool: Tool
    name: str
    parameters: tuple[str, ...]
    definition: Json

    def call(self, values: Values) -> str:
        """The call, in the markup of Hermes and Qwen."""
        arguments = {
            name: values[parameter.value] for name, parameter in zip(self.parameters, self.tool.parameters, strict=True)
        }
        body = json.dumps({"name": self.name, "arguments": arguments}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"


def named(dice: Dice, tool: Tool) -> NamedTool:
    """The tool under names that are on this side."""
    while True:
        verb, noun = dice.choice(tool.verbs), dice.choice(tool.nouns)
        name = f"{verb}_{noun}" if verb and noun else verb or noun
        parameters = tuple(dice.choice(parameter.names) for parameter in tool.parameters)
        if dice.may_use("tool", name, *parameters):
            break
    properties = {
        called: _property(dice, parameter) for called, parameter in zip(parameters, tool.parameters, strict=True)
    }
    function = {
        "name": name,
        "description": dice.choice(tool.described),
        "parameters": {"type": "object", "properties": properties, "required": list(parameters)},
    }
    return NamedTool(tool, name, parameters, {"type": "function", "function": function})


def _property(dice: Dice, parameter: Parameter) -> Json:
    schema: Json = {"type": parameter.kind}
    if parameter.options:
        schema["enum"] = list(parameter.options)
    if parameter.described and dice.random() < 0.4:
        schema["description"] = parameter.described
    return schema
