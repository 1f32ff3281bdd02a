"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from app.config import Config

if not Path("/dev/nvidia0").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported, by whichever test comes first
from app.model.native import compiler, library


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """For torch in this process: tiny models gain nothing from more, and wait for them where tests run side by side."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random-weight Llama of `tests.models`, saved as a user's model would be."""
    from tests.models import reference_model

    directory = tmp_path_factory.mktemp("models") / "llama"
    reference_model("Llama").save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def llama_config(llama_dir: Path) -> Config:
    return Config(model=str(llama_dir), device="cpu", port=0, max_num_seqs=4, max_queue=4, log_level="error")  # type: ignore[call-arg]


@pytest.fixture(params=[True, False], ids=["AMX", "no AMX"])
def _with_and_without_amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The compiled kernels on this processor, and as they would be on one without AMX."""
    usable = compiler.processor_flags()
    if request.param and not usable >= compiler.AMX:
        pytest.skip("this processor, or its system, has no AMX")
    monkeypatch.setattr(compiler, "processor_flags", lambda: usable if request.param else usable - compiler.AMX)
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()
