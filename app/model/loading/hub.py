"""Finds a model's files: in a directory, or in the hub's cache, after downloading them there."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any

from huggingface_hub import snapshot_download
from tqdm.auto import tqdm

from app.checkpoint.files import BadCheckpoint

SERVED_FILES = ("*.json", "*.jinja", "*.txt", "model*.safetensors")
"""Which files of a model on the hub are downloaded: it often has the same weights in other formats too."""


MIN_SHARE = 0.002
"""Of a download, that is worth a report."""

Report = Callable[[int, int], None]
"""Receives how many bytes are downloaded, and of how many known so far. Calls do not overlap."""


def find_model(model: str, revision: str | None, report: Report = lambda _bytes, _total: None) -> Path:
    """The directory of a model, downloaded first if `model` is an id on the hub. Raises BadCheckpoint."""
    if Path(model).exists():
        return Path(model)
    try:
        return Path(
            snapshot_download(
                model, revision=revision, allow_patterns=list(SERVED_FILES), tqdm_class=reporting_bar(report)
            )
        )
    except (OSError, ValueError) as error:
        raise BadCheckpoint(
            f"there is no directory {model!r}, and it cannot be downloaded from the hub: {' '.join(str(error).split())}"
        ) from error


def reporting_bar(report: Report) -> type[tqdm[Any]]:
    """A progress bar that is not shown, but reported whenever `MIN_SHARE` more has come."""
    lock = Lock()

    class ReportingBar(tqdm):  # type: ignore[type-arg]  # at run time it takes none
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"file": StringIO(), "disable": False})
            self._reported = 0.0

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            with lock:  # files are downloaded side by side
                if self.unit == "B" and self.total and self.n - self._reported >= MIN_SHARE * self.total:
                    self._reported = self.n
                    report(int(self.n), int(self.total))
            return shown

    return ReportingBar
