"""A model that cannot be served ends `millrace serve` with a code other than 0 and one sentence, soon."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, printed_by_a_start_that_fails
from tests.test_checkpoint import BREAKAGES, EVERY_FILE, OPTIONAL_FILES, whole

SMALL = ("--kv-cache-memory", "64MiB", *ONE_THREAD)


def a_truncated_file(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def nothing(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def a_weight_less(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def a_weight_that_is_no_number(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    tensors["model.norm.weight"].fill_(float("nan"))
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "reason", "loads"),
    [
        (a_truncated_file, "model.safetensors is truncated", False),
        (nothing, "is empty; a model's directory needs config.json", False),
        (a_weight_less, "model.layers.1.mlp.down_proj.weight missing", True),
        pytest.param(a_weight_that_is_no_number, "logits are not finite", True, marks=pytest.mark.slow),
    ],
    ids=["truncated", "empty", "a weight less", "a weight that is no number"],
)
def test_a_model_that_cannot_be_served_is_an_exit_with_one_sentence(
    change: Callable[[Path], None], reason: str, loads: bool, model: TextModel, tmp_path: Path
) -> None:
    """What a look can tell is told before the server begins to load anything."""
    directory = tmp_path / "model"
    shutil.copytree(model.directory, directory)
    change(directory)
    *log, last = printed_by_a_start_that_fails(directory, *SMALL)
    assert last.startswith("millrace: ")
    assert reason in last
    assert loads or log == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), EVERY_FILE, ids=str)
@pytest.mark.parametrize("breakage", [*BREAKAGES, Path.unlink], ids=lambda breakage: breakage.__name__)
def test_every_file_in_every_state_is_an_exit_with_one_sentence(
    kind: str, name: str, breakage: Callable[[Path], None], tmp_path: Path
) -> None:
    """`tests/test_checkpoint.py` says which; here it is that a start asks."""
    if breakage is Path.unlink and name in OPTIONAL_FILES:
        pytest.skip("a model may do without it")
    path = whole(tmp_path, kind) / name
    breakage(path)
    [line] = printed_by_a_start_that_fails(tmp_path, *SMALL)
    assert line.startswith("millrace: ")
    assert str(path) in line
