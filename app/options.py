"""Options of the command line: one per setting, and mistakes in a sentence."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.config import Config, load_defaults
from app.settings import option_of, parse_bytes

SIMILARITY = 0.7
"""How much a mistyped option must resemble another, from 0 to 1, for that one to be suggested."""

METAVARS: dict[object, str] = {int: "N", float: "X", str: "TEXT", Path: "FILE", SecretStr: "KEY", tuple: "A,B"}
SECONDS = ("_seconds", "_timeout")
"""How the names of settings end that are in seconds."""


def fail(message: str, code: int = 1) -> NoReturn:
    """End the program with a sentence on standard error."""
    print(f"millrace: {message}", file=sys.stderr)
    raise SystemExit(code)


class Parser(argparse.ArgumentParser):
    """Reports a mistake in a sentence; argparse would print the usage, which here is a page."""

    def error(self, message: str) -> NoReturn:
        if found := re.fullmatch(r"argument (--[\w-]+): expected one argument", message):
            metavar = self._option_string_actions[found[1]].metavar
            message = f"{found[1]} needs a value: {_value_words(str(metavar or 'TEXT'))}"
        fail(f"{message}; `{self.prog} --help` lists what there is", code=2)


def refuse_unknown(arguments: list[str], command: str, names: Iterable[str]) -> NoReturn:
    """End the program because of arguments that a command does not take. `names` are those of its options."""
    unknown = arguments[0]
    if not unknown.startswith("-"):
        fail(f"{unknown!r} is one argument too many; `millrace {command} --help` lists what there is", code=2)
    options = [option_of(name) for name in names]
    closest = difflib.get_close_matches(unknown.partition("=")[0], options, 1, SIMILARITY)
    hint = f"did you mean {closest[0]}? " if closest else ""
    fail(f"there is no option {unknown}; {hint}`millrace {command} --help` lists all", code=2)


def add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    """The option of one field of `Config`, which parses and checks its value."""
    field, defaults = Config.model_fields[name], load_defaults()
    default = f" [{shown(defaults[name])}]" if name in defaults else ""
    group.add_argument(
        option_of(name), dest=name, metavar=metavar_of(name, field), help=f"{field.description}{default}"
    )


def metavar_of(name: str, field: FieldInfo) -> str:
    """What the value of an option looks like: its choices, or its kind."""
    kinds = list(_kinds(field.annotation))
    if Literal in kinds:
        return "{" + ",".join(str(choice) for choice in kinds if isinstance(choice, str)) + "}"
    if bool in kinds:
        return "{true,false}"
    if any(getattr(each, "func", None) is parse_bytes for each in field.metadata):
        return "SIZE"
    if name.endswith(SECONDS):
        return "SECONDS"
    return next(METAVARS[kind] for kind in kinds if kind in METAVARS)


def _value_words(metavar: str) -> str:
    """`{true,false}` as `true or false`; any other metavar as it is."""
    return " or ".join(metavar[1:-1].split(",")) if metavar.startswith("{") else metavar


def shown(value: object) -> str:
    """A default as it would be typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kinds(annotation: Any) -> Iterable[Any]:
    """The types that an annotation is made of, and the choices of a `Literal`."""
    origin = get_origin(annotation)
    if origin is not None:
        yield origin
        for each in get_args(annotation):
            yield from _kinds(each)
    else:
        yield annotation
