"""What is installed is what serving and measuring need, and it works without the repository around it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_imports import module_name

ROOT = Path(__file__).parent.parent
APP = ROOT / "app"
MAX_BYTES = 13_000_000
"""The embedded model's weights take 11.2 million of them and hardly compress."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    [built] = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the wheel has, in which Python finds it before the repository."""
    directory = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(directory)
    return directory


def test_every_module_and_every_file_beside_them_is_there(installed: Path) -> None:
    expected = {
        path.relative_to(ROOT)
        for path in APP.rglob("*")
        if path.is_file()
        and path.suffix not in (".pyc", ".md")
        and not {"screenshots", "prebuilt", "demo"} & set(path.relative_to(ROOT).parts)
    }
    assert {path for path in expected if not (installed / path).is_file()} == set()
    assert (installed / "app" / "default.toml").read_text() == (ROOT / "config" / "default.toml").read_text()


def test_of_what_made_the_embedded_model_only_the_model_is_there(installed: Path, wheel: Path) -> None:
    model = {path.name for path in (APP / "demo" / "model").iterdir() if path.suffix != ".md"}
    demo = installed / "app" / "demo"
    assert {str(path.relative_to(demo)) for path in demo.rglob("*") if path.is_file()} == {f"model/{n}" for n in model}
    assert wheel.stat().st_size < MAX_BYTES


def test_nothing_that_is_installed_imports_what_is_not(installed: Path) -> None:
    modules = [module_name(ROOT / path.relative_to(installed)) for path in (installed / "app").rglob("*.py")]
    script = f"""
import importlib, sys
for name in {sorted(modules)!r}:
    if name != 'app.__main__' and not name.startswith('app.model.triton'):
        importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith('app.demo')]
"""
    subprocess.run([sys.executable, "-c", script], cwd=installed, check=True, timeout=300)


def test_it_serves_the_embedded_model_and_measures_it(installed: Path) -> None:
    options = ("single", "--requests", "1", "--output-tokens", "4", "--quiet")
    command = [sys.executable, "-m", "app", "bench", *options]
    ended = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "millrace-demo" in ended.stdout
