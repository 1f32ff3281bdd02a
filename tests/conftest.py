"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import Config


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
