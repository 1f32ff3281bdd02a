"""Reads the headers of safetensors files: which tensors a file holds, and whether it is complete.

A file is the length of its header (8 bytes, little-endian), the header (a JSON object that maps each tensor's name to
its dtype, shape and offsets) and the tensors: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.checkpoint.files import BadCheckpoint, check_file

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format's own library."""


def read_dtypes(path: Path) -> dict[str, str]:
    """The dtype of every tensor in a file, by name. Raises BadCheckpoint if the file is not complete."""
    size = check_file(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, MAX_HEADER_BYTES))
    if length > MAX_HEADER_BYTES or not header.startswith(b"{"):
        raise BadCheckpoint(f"{path} is not a safetensors file; copy or download it again")
    if len(header) < length:
        raise BadCheckpoint(f"{path} is truncated: it ends in its header; copy or download it again")
    try:
        tensors: dict[str, dict[str, Any]] = json.loads(header)
        tensors.pop("__metadata__", None)
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        dtypes = {name: str(tensor["dtype"]) for name, tensor in tensors.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadCheckpoint(f"{path} has a broken safetensors header; copy or download it again") from error
    if size < end:
        raise BadCheckpoint(f"{path} is truncated: {size:,} of {end:,} bytes are there; copy or download it again")
    if size > end:
        raise BadCheckpoint(f"{path} has {size - end:,} bytes too many; copy or download it again")
    return dtypes
