"""JSON from a client, read within bounds."""

from __future__ import annotations

import json
import re

from app.constraints.errors import ConstraintError

MAX_DEPTH = 100
"""Lists and objects in one another. llguidance reads 128, of which the envelope takes a few."""

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def read_json(text: str, what: str) -> object:
    """Raises ConstraintError for text that is no JSON, nests too deeply or has a number that JSON does not have.

    `what` names the text in messages ("The JSON schema").
    """
    _check_depth(text, what)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # also integers of too many digits
        raise ConstraintError(f"{what} is not valid JSON: {error}.") from error


def write_json(value: object, what: str) -> str:
    """As UTF-8 with the order of its keys kept. Raises ConstraintError for what JSON cannot say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:  # 1e999, a lone surrogate, an object of Python
        raise ConstraintError(f"{what} cannot be written as JSON: {error}.") from error
    return text


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for part in _PARTS.finditer(text):
        match part[0]:
            case "[" | "{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ConstraintError(f"{what} nests deeper than {MAX_DEPTH} levels.")
            case "]" | "}":
                depth -= 1


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
