"""The server that is attacked: a small model, and a short time for each answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    model = TextModel(tmp_path_factory.mktemp("models") / "miller")
    limits = ("--kv-cache-memory", "32MiB", "--max-model-len", "2048", "--request-timeout", "20")
    with serving(model.directory, *limits, *ONE_THREAD) as process:
        yield process
