"""Where a model's files are: in a directory, or in the cache of the hub, which they are downloaded into."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from app.checkpoint.files import BadCheckpoint

SERVED_FILES = ("*.json", "*.jinja", "*.txt", "model*.safetensors")
"""Of a model on the hub, which often holds the same weights in other formats, too."""


def find_model(model: str, revision: str | None) -> Path:
    """The directory of a model, downloaded first if `model` is an id on the hub. Raises BadCheckpoint."""
    if Path(model).exists():
        return Path(model)
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(SERVED_FILES)))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(
            f"there is no directory {model!r}, and it cannot be had from the hub: {' '.join(str(error).split())}"
        ) from error
