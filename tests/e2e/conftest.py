"""What the end-to-end tests share: one model made on the spot, and one server of it. Every start costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving

MAX_SEQUENCES = 256
"""That the server below takes at once, running or waiting, of one request if it asks for them."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return TextModel(tmp_path_factory.mktemp("models") / "miller")


@pytest.fixture(scope="session")
def demo_server() -> Iterator[ServerProcess]:
    """The embedded model, served as its users do."""
    with serving("demo", "--kv-cache-memory", "64MiB", *ONE_THREAD) as process:
        yield process


@pytest.fixture(scope="session")
def server(model: TextModel) -> Iterator[ServerProcess]:
    """Few sequences run at once, so that many have to wait."""
    limits = ("--max-num-seqs", "8", "--max-queue", str(MAX_SEQUENCES - 8), "--kv-cache-memory", "32MiB")
    large_requests = ("--max-sequences-per-request", str(MAX_SEQUENCES), "--max-values-per-request", str(1 << 22))
    with serving(model.directory, *limits, *large_requests, *ONE_THREAD) as process:
        yield process
        print(process.output)
