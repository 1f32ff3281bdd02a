"""A model on the hub is looked for in its cache, and downloaded into it; a directory is what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from app.checkpoint.files import BadCheckpoint
from app.checkpoint.inspection import check_model_files
from app.model.loading.hub import find_model, reporting_bar

COMMIT = "0123456789" * 4


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a machine without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, model: str, directory: Path, branch: str = "main") -> Path:
    """Put a model into the cache as a download does."""
    stored = cache / f"models--{model.replace('/', '--')}"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / branch).write_text(COMMIT)
    return Path(shutil.copytree(directory, stored / "snapshots" / COMMIT))


def test_a_directory_is_taken_as_it_is(llama_dir: Path) -> None:
    assert find_model(str(llama_dir), None) == llama_dir


def test_a_model_in_the_cache_is_found_without_a_network(cache: Path, llama_dir: Path) -> None:
    snapshot = put(cache, "some/llama", llama_dir)
    assert find_model("some/llama", None) == snapshot
    check_model_files(find_model("some/llama", None))


def test_a_revision_is_heeded(cache: Path, llama_dir: Path) -> None:
    snapshot = put(cache, "some/llama", llama_dir, branch="tuned")
    assert find_model("some/llama", "tuned") == snapshot
    with pytest.raises(BadCheckpoint, match="no directory 'some/llama', and it cannot be downloaded from the hub"):
        find_model("some/llama", None)


def test_a_download_that_was_broken_off_is_told_by_the_file_that_is_missing(cache: Path, llama_dir: Path) -> None:
    (put(cache, "some/llama", llama_dir) / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is missing"):
        check_model_files(find_model("some/llama", None))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("model", ["some/model", "mymodel", "a/b/c"])
def test_what_is_neither_a_directory_nor_on_the_hub_is_said_to_be_neither(model: str) -> None:
    with pytest.raises(BadCheckpoint, match=f"no directory '{model}', and it cannot be downloaded from the hub: "):
        find_model(model, None)


def test_a_download_reports_its_bytes_and_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    reports: list[tuple[int, int]] = []
    bar = reporting_bar(lambda num_bytes, total: reports.append((num_bytes, total)))
    with bar(total=0, unit="B", unit_scale=True) as downloaded, bar(total=2) as files:
        downloaded.total = 10_000
        for _ in range(10_000):
            downloaded.update(1)
        files.update(1)
    assert reports[-1] == (10_000, 10_000)
    assert len(reports) == 500
    assert capsys.readouterr() == ("", "")
