"""Compiled libraries on disk, each with a digest beside it, so that one that was truncated or replaced is never loaded.

Mapping a truncated library succeeds, but the process is killed (SIGBUS) as soon as it touches the missing end.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

logger = logging.getLogger("millrace.engine")


def publish(made: Path, library: Path) -> None:
    """Copy a compiled library to where it is kept. Raises OSError.

    The digest and the library are each replaced atomically, the library last, so that other processes may load or
    publish the same one at any moment: they find a library with its digest, one that they do not load, or none.
    """
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        copy, digest = Path(scratch) / "library", Path(scratch) / "digest"
        shutil.copyfile(made, copy)
        digest.write_bytes(_digest(library.name, copy))
        digest.replace(_digest_path(library))
        copy.replace(library)


def load_intact(library: Path) -> ctypes.CDLL | None:
    """The library, or None. If there is one that cannot be trusted or loaded, a line of the log says why."""
    if not os.path.lexists(library):
        return None
    try:
        if _content(_digest_path(library)) == _digest(library.name, library):
            return ctypes.CDLL(str(library))
        problem = "it is not what was compiled"
    except OSError as error:
        problem = str(error)
    logger.warning("the compiled kernels in %s are not used: %s", library, problem)
    return None


def _digest_path(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _digest(name: str, library: Path) -> bytes:
    """The digest covers the name too, which says what was compiled and how: another build is wrong, however intact."""
    return hashlib.sha256(name.encode() + b"\0" + _content(library)).hexdigest().encode()


def _content(path: Path) -> bytes:
    """Raises OSError, also for a named pipe, on which reading could block forever."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file")
    return path.read_bytes()
