"""JSON schemas as grammars."""

from __future__ import annotations

from typing import Any

from app.constraints.errors import ConstraintError
from app.constraints.json_text import read_json, write_json
from app.constraints.schema import Schema, SchemaReader

# At most once wherever JSON may have white space: none, one space, or a new line with its indentation. So every usual
# way of writing JSON can be had (compact, Python's, indented by two, four or a tab), which keeps a model in the habit
# that it has learnt, and none spends its tokens on blanks.
_WHITESPACE = r"[ ]|\n(?:[ ]{0,64}|\t{0,16})"


def json_grammar(schema: object, *, strict: bool) -> Schema:
    """The schema as llguidance compiles it. Raises ConstraintError for what is malformed or cannot be enforced."""
    reader = read_schema(schema, strict=strict)
    return {**reader.root, "x-guidance": {"whitespace_pattern": _WHITESPACE, "lenient": not strict}}


def json_rule(schema: object, *, strict: bool) -> str:
    """The same as it stands in a rule of a Lark grammar."""
    return "%json " + write_json(json_grammar(schema, strict=strict), "The JSON schema")


def read_schema(schema: Any, *, strict: bool) -> SchemaReader:
    """Read a schema, which is rewritten in place. Raises ConstraintError."""
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    if not isinstance(schema, dict):
        raise ConstraintError("A JSON schema is an object, true or false.", pointer="#")
    reader = SchemaReader(schema, strict=strict)
    reader.read()
    return reader


def read_schema_text(text: str, *, strict: bool) -> SchemaReader:
    """Read a schema from its JSON. Raises ConstraintError."""
    return read_schema(read_json(text, "The JSON schema"), strict=strict)
