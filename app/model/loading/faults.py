"""Which fields of a config.json are at fault where transformers fails on it.

Each type of model checks its configuration in its own way, if at all, and what fails is often far from the field that
made it fail. So the fields are left out one by one: those without which transformers does not fail are at fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from time import perf_counter
from typing import Any

from app.checkpoint.files import BadCheckpoint, read_json
from app.model.loading.support import TransformersFailure, UnsupportedModel, in_one_line

MAX_SECONDS = 5.0
"""How long the search may take, after the trial that is under way."""

MAX_VALUE_LENGTH = 80
"""Characters of a field's value that a message shows."""

DTYPE_FIELDS = frozenset({"dtype", "torch_dtype"})
DTYPES = ("float32", "float16", "bfloat16")

WORDLESS = (LookupError, ArithmeticError, AttributeError, AssertionError, NameError, TypeError, RuntimeError)
"""Errors that mean little to somebody who does not read the code that raised them, unless they hold a whole message."""


def explain(path: Path, failure: TransformersFailure, inspect: Callable[[dict[str, Any]], object]) -> UnsupportedModel:
    """The refusal of the configuration in `path`, in words, with the fields at fault as far as they can be found.

    `inspect` raises an error of any kind for fields that cannot be served.
    """
    cause = failure.error
    try:
        fields = read_json(path)
    except BadCheckpoint as error:
        return UnsupportedModel(str(error))
    what = f"transformers cannot {failure.action} {path}"
    names = [] if isinstance(cause, ImportError) else fields_at_fault(fields, inspect)
    if not names:
        return UnsupportedModel(f"{what}: {in_one_line(cause)}")
    at_fault = " or ".join(_described(name, fields[name]) for name in names)
    words = f" ({' '.join(str(cause).split())})" if _has_words(cause) else ""
    remedy = f"{_remedy(names)}, or use the config.json that was published with the model"
    return UnsupportedModel(f"{what} because of {at_fault}{words}; {remedy}")


def _remedy(names: Seq[str]) -> str:
    return f"write one of {', '.join(DTYPES)}" if DTYPE_FIELDS.issuperset(names) else "correct it"


def _has_words(error: Exception) -> bool:
    return not isinstance(error, WORDLESS) or (isinstance(error, KeyError) and " " in str(error))


def fields_at_fault(
    fields: Mapping[str, Any], inspect: Callable[[dict[str, Any]], object], clock: Callable[[], float] = perf_counter
) -> list[str]:
    """The fields each of which only has to be left out for the rest to pass `inspect`."""
    found = []
    end = clock() + MAX_SECONDS
    for name in fields:
        if clock() > end:
            break
        try:
            inspect({other: value for other, value in fields.items() if other != name})
        except Exception:  # as much as what is being explained, it may be anything
            continue
        found.append(name)
    return found


def _described(name: str, value: object) -> str:
    text = json.dumps(value)
    return f"{name}: {text if len(text) <= MAX_VALUE_LENGTH else text[:MAX_VALUE_LENGTH] + '…'}"
