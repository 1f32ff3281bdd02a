"""What holds an answer to a form, under the names that OpenAI, vLLM and llama.cpp have for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from app.api.generation.request import GenerationBody
from app.api.wire.request_model import RequestModel, names_of, refusal
from app.constraints.lark import is_lark
from app.messages import Constraint, ConstraintKind

Schema = dict[str, Any] | bool
Choices = Annotated[list[str], Field(min_length=1)]
Asked = tuple[str, Constraint]
"""A constraint, and the path of the field that asks for it."""


def schema_constraint(schema: Schema | str, *, strict: bool = True) -> Constraint:
    """A JSON schema, which may come as its text."""
    return Constraint(ConstraintKind.JSON_SCHEMA, schema if isinstance(schema, str) else written_json(schema), strict)


def written_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _grammar(text: str) -> Constraint:
    return Constraint(ConstraintKind.LARK if is_lark(text) else ConstraintKind.GBNF, text)


class JsonSchemaFormat(RequestModel):
    """`name` and `description` say what the schema is for. With `strict` false it is enforced as far as it can be."""

    name: str | None = None
    description: str | None = None
    strict: bool = True
    schema_: Schema = Field(alias="schema")


class ResponseFormat(RequestModel):
    """The form of an answer. An object may have a `schema` as llama.cpp has it, a structural tag is vLLM's."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    schema_: Schema | None = Field(None, alias="schema")
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        if self.type == "json_schema" and self.json_schema is None:
            message = "A 'response_format' of the type 'json_schema' needs 'json_schema'."
            yield refusal("missing_required_parameter", message, "json_schema")
        belonging = {
            "json_schema": ("json_schema",),
            "json_object": ("schema",),
            "structural_tag": ("format", "structures", "triggers"),
        }
        for name in sorted({name for names in belonging.values() for name in names}):
            given = self.schema_ if name == "schema" else getattr(self, name)
            if given is not None and name not in belonging.get(self.type, ()):
                message = f"'{name}' does not belong to a 'response_format' of the type '{self.type}'."
                yield refusal("invalid_value", message, name)

    def asked(self) -> Iterator[Asked]:
        match self.type:
            case "json_schema":
                assert self.json_schema is not None
                schema = schema_constraint(self.json_schema.schema_, strict=self.json_schema.strict)
                yield "response_format.json_schema.schema", schema
            case "json_object" if self.schema_ is not None:
                yield "response_format.schema", schema_constraint(self.schema_)
            case "json_object":
                yield "response_format", Constraint(ConstraintKind.JSON_OBJECT)
            case "structural_tag":
                tag = self.model_dump(include={"format", "structures", "triggers"}, exclude_none=True)
                yield "response_format", Constraint(ConstraintKind.STRUCTURAL_TAG, written_json(tag))


class StructuredOutputs(RequestModel):
    """One of vLLM's constraints. There is nothing to fall back to, so that `disable_fallback` asks for nothing."""

    not_done: ClassVar = {
        "disable_any_whitespace": (False,),
        "disable_additional_properties": (False,),
        "whitespace_pattern": (),
        "disable_fallback": (False, True),
    }

    json_: Schema | str | None = Field(None, alias="json")
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    structural_tag: str | None = None
    json_object: bool | None = None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        if not list(self.asked()):
            names = ", ".join(f"'{name}'" for name in names_of(type(self)))
            yield refusal("invalid_value", f"'structured_outputs' asks for nothing; it has one of {names}.")

    def asked(self) -> Iterator[Asked]:
        """All that is asked for, which should be one."""
        at = "structured_outputs."
        yield from _vllm_constraints(at, self.json_, self.regex, self.choice, self.grammar)
        if self.structural_tag is not None:
            yield f"{at}structural_tag", Constraint(ConstraintKind.STRUCTURAL_TAG, self.structural_tag)
        if self.json_object:
            yield f"{at}json_object", Constraint(ConstraintKind.JSON_OBJECT)


def _vllm_constraints(
    at: str, schema: Schema | str | None, regex: str | None, choice: list[str] | None, grammar: str | None
) -> Iterator[Asked]:
    """Those that vLLM has at first asked for by fields of their own. `at` is what their names begin with."""
    if schema is not None:
        yield f"{at}json", schema_constraint(schema)
    if regex is not None:
        yield f"{at}regex", Constraint(ConstraintKind.REGEX, regex)
    if choice is not None:
        yield f"{at}choice", Constraint(ConstraintKind.CHOICE, written_json(choice))
    if grammar is not None:
        yield f"{at}grammar", _grammar(grammar)


class ConstraintFields(GenerationBody):
    """One of them may be asked for, and once: `guided_*` are vLLM's older names, `json_schema` and `grammar` are
    llama.cpp's.
    """

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | str | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    json_schema: Schema | None = None
    grammar: str | None = None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        yield from super().disagreements()
        first, *others = [field for field, _ in self.asked_constraints()] or [""]
        for other in others:
            message = f"'{first}' and '{other}' both hold the answer to a form; send one of them."
            yield refusal("invalid_value", message, *other.split("."))

    def asked_constraints(self) -> Iterator[Asked]:
        """All that is asked for. There is at most one, unless `disagreements` says so."""
        if self.response_format is not None:
            yield from self.response_format.asked()
        if self.structured_outputs is not None:
            yield from self.structured_outputs.asked()
        yield from _vllm_constraints(
            "guided_", self.guided_json, self.guided_regex, self.guided_choice, self.guided_grammar
        )
        if self.json_schema is not None:
            yield "json_schema", schema_constraint(self.json_schema)
        if self.grammar is not None:
            yield "grammar", _grammar(self.grammar)
