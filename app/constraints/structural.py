"""Structural tags: text in which tags appear, the content of each held to its schema (vLLM's `structural_tag`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llguidance import regex_to_lark

from app.constraints.errors import ConstraintError
from app.constraints.json_grammar import json_rule
from app.constraints.json_text import read_json
from app.constraints.lark_writer import LarkWriter
from app.messages import Constraint

_WHAT = "The structural tag"


def structural_tag_to_lark(constraint: Constraint, special_tokens: Mapping[str, int]) -> str:
    """Raises ConstraintError for what is malformed or not supported.

    The older form has `structures` (each `begin`, `schema`, `end`) and `triggers`, the newer one a `format`. Where a
    text to be written has the name of a special token (name to id), the token itself is meant.
    """
    tag = read_json(constraint.text, _WHAT)
    if not isinstance(tag, dict):
        raise _error("is an object")
    writer = _Writer(special_tokens, strict=constraint.strict)
    if "format" in tag:
        start = writer.format(tag["format"])
    else:
        tags = [
            {
                "begin": _field(structure, "begin", str),
                "content": {"type": "json_schema", "json_schema": structure.get("schema", {})},
                "end": _field(structure, "end", str),
            }
            for structure in _field(tag, "structures", list)
        ]
        start = writer.triggered_tags({"tags": tags, "triggers": _field(tag, "triggers", list)})
    return writer.grammar(start)


def _error(what: str) -> ConstraintError:
    return ConstraintError(f"{_WHAT} cannot be used: it {what}.", keyword="structural_tag")


def _field(node: Any, name: str, kind: type) -> Any:
    """The field of a node. Raises ConstraintError if it is missing or not of this kind."""
    if not isinstance(node, dict) or not isinstance(node.get(name), kind):
        raise _error(f"lacks `{name}`, or has it of the wrong type")
    return node[name]


class _Writer(LarkWriter):
    """Turns formats into expressions of Lark, and adds the rules that these refer to."""

    def __init__(self, special_tokens: Mapping[str, int], *, strict: bool) -> None:
        super().__init__(special_tokens)
        self._strict = strict

    def format(self, node: Any, end: str | None = None) -> str:
        """The expression of a format, and of the `end` that follows it."""
        closing = self.text(end) if end else '""'
        kind = _field(node, "type", str)
        if kind == "any_text":
            return self.text_until(end) if end else "TEXT"
        writers = {
            "const_string": lambda: self.text(_field(node, "value", str)),
            "json_schema": lambda: json_rule(node.get("json_schema", {}), strict=self._strict),
            "regex": lambda: f"/{regex_to_lark(_field(node, 'pattern', str), 'dw')}/",
            "sequence": lambda: self._sequence(_field(node, "elements", list)),
            "or": lambda: " | ".join(map(self.format, _field(node, "elements", list))),
            "tag": lambda: self._tag(node),
            "triggered_tags": lambda: self.triggered_tags(node),
            "tags_with_separator": lambda: self._tags_with_separator(node),
        }
        if kind not in writers:
            raise _error(f"has a format of the type {kind!r}, which is not supported")
        return f"({self.rule(writers[kind]())} {closing})"

    def triggered_tags(self, node: Any) -> str:
        """Any text, until a trigger appears: then one of the tags that begin with it."""
        if node.get("excludes"):
            raise _error("has `excludes`, which is not supported")
        tags, triggers = _field(node, "tags", list), _field(node, "triggers", list)
        begins = [_field(tag, "begin", str) for tag in tags]
        if not tags or not triggers or not all(isinstance(trigger, str) and trigger for trigger in triggers):
            raise _error("needs tags, and triggers that are texts")
        for begin in begins:
            if not any(begin.startswith(trigger) for trigger in triggers):
                raise _error(f"has a tag that begins with none of its triggers: {begin!r}")
        calls = []
        for trigger in triggers:
            here = [tag for tag, begin in zip(tags, begins, strict=True) if begin.startswith(trigger)]
            if options := [self._tag(tag, trigger) for tag in here]:
                calls.append(self.rule(f"{self.text_until(trigger)} ({' | '.join(options)})"))
        call = f"({' | '.join(calls)})"
        if node.get("stop_after_first"):
            return call if node.get("at_least_one") else f"({call} | TEXT)"
        return f"{call}{'+' if node.get('at_least_one') else '*'} TEXT"

    def _tag(self, tag: Any, trigger: str = "") -> str:
        """The tag, of which the trigger at its beginning is written already."""
        begin = self.text(_field(tag, "begin", str).removeprefix(trigger))
        end = tag.get("end", "")
        if isinstance(end, list) and len(end) == 1:
            [end] = end
        if not isinstance(end, str):
            raise _error("has a tag whose `end` is not one text")
        return self.rule(f"{begin} {self.format(tag.get('content'), end)}")

    def _tags_with_separator(self, node: Any) -> str:
        tag = self.rule(" | ".join(map(self._tag, _field(node, "tags", list))))
        if node.get("stop_after_first"):
            return tag if node.get("at_least_one") else f"{tag}?"
        tags = f"{tag} ({self.text(_field(node, 'separator', str))} {tag})*"
        return tags if node.get("at_least_one") else f"({tags})?"

    def _sequence(self, elements: list[Any]) -> str:
        """Text that may be anything goes on to the end, so nothing can follow it."""
        if any(isinstance(element, dict) and element.get("type") == "any_text" for element in elements[:-1]):
            raise _error("has `any_text` in a sequence before its end; put it into a tag")
        return " ".join(map(self.format, elements)) or '""'
