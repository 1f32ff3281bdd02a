"""Reads single files of a model's directory; errors say which file is broken, how, and what to do."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from os.path import lexists
from pathlib import Path
from typing import Any

LFS_POINTER = b"version https://git-lfs"
"""How a git-LFS pointer begins: the small text file that stands in for a large file until git fetches that."""


class BadCheckpoint(ValueError):
    """A model's files cannot be served; the message names the file, what is wrong with it and what to do."""


def check_file(path: Path) -> int:
    """Check that a file can be read and is not empty. Returns its size in bytes. Raises BadCheckpoint."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BadCheckpoint(f"{path} is not a file; put the model's own file in its place")
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing; copy or download the model again") from error
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read ({error.strerror}); check its permissions and its disk") from error
    if not start:
        raise BadCheckpoint(f"{path} is empty; copy or download it again")
    if start == LFS_POINTER:
        raise BadCheckpoint(f"{path} is a git-LFS pointer instead of the file; run `git lfs pull` in {path.parent}")
    return found.st_size


def read_text(path: Path) -> str:
    """The content of a text file. Raises BadCheckpoint."""
    check_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadCheckpoint(f"{path} is not text in UTF-8 ({error.reason}); copy or download it again") from error


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that must hold a JSON object. Raises BadCheckpoint."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BadCheckpoint(
            f"{path} is broken or incomplete JSON ({error.msg}, line {error.lineno}); copy or download it again"
        ) from error
    except RecursionError as error:
        raise BadCheckpoint(f"{path} is JSON that is nested too deeply; copy or download it again") from error
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} holds no JSON object; copy or download it again")
    return content


def read_json_if_present(path: Path) -> dict[str, Any]:
    """Like `read_json`, for a file that a model can do without: an empty object if there is none."""
    return read_json(path) if lexists(path) else {}


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
