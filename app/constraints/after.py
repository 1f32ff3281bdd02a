"""Constraints that begin in the middle of an output."""

from __future__ import annotations

import json
from collections.abc import Mapping

from app.constraints.json_text import write_json
from app.messages import Constraint, ConstraintKind


def after(marker: str, compiled: Constraint, special_tokens: Mapping[str, int] | None = None) -> Constraint:
    """Any text up to the first `marker` (the end of reasoning), blanks, and from there on the constraint.

    A marker that is the name of one of `special_tokens` (name to id) is that token. Both constraints are COMPILED.
    """
    token_id = (special_tokens or {}).get(marker)
    if token_id is None:
        start, rule = "before", f"before[lazy]: /(?s:.*)/ {write_json(marker, 'The marker')}"
    else:
        start, rule = f"before <[{token_id}]>", "before: /(?s:.*)/"
    first, *others = json.loads(compiled.text)["grammars"]
    lark = f"start: {start} BLANKS @answer\n{rule}\nBLANKS: /[ \\n]{{0,4}}/\n"
    grammars = [{"lark_grammar": lark}, {**first, "name": "answer"}, *others]
    return Constraint(ConstraintKind.COMPILED, write_json({"grammars": grammars}, "The constraint"), compiled.strict)
