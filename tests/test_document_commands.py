"""Commands in the documents are ones that their programs take: options, targets, modules and paths exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from app.cli import build_parser
from tests.documents import ROOT, Block, blocks, pages, prose


def module_file(name: str) -> Path:
    base = ROOT.joinpath(*name.split("."))
    return base / "__main__.py" if base.is_dir() else base.with_suffix(".py")


def check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    [targets] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        assert f"$({name})" in makefile if is_variable else name in targets.split(), argument


def check_millrace(arguments: list[str]) -> None:
    if arguments[-1] not in ("--help", "--version"):
        build_parser().parse_args(arguments)


def check_python(arguments: list[str]) -> None:
    assert arguments[0] == "-m"
    if arguments[1] == "pytest":
        return check_pytest(arguments[2:])
    file = module_file(arguments[1])
    assert file.exists(), arguments[1]
    source = file.read_text()
    for option in arguments[2:]:
        assert not option.startswith("--") or f'"{option.partition("=")[0]}"' in source, option
    return None


def check_pytest(arguments: list[str]) -> None:
    for argument in arguments:
        path, _, name = argument.partition("::")
        if path.startswith("tests/"):
            assert (ROOT / path).exists(), argument
            assert not name or f"def {name}(" in (ROOT / path).read_text(), argument


def check_pip(arguments: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert arguments[0] == "install"
    [what] = [argument for argument in arguments[1:] if not argument.startswith("-")]
    found = re.fullmatch(r"\.(?:\[(\w+)\])?", what)
    assert found is not None, what
    assert found[1] is None or found[1] in extras, what


def check_uvx(arguments: list[str]) -> None:
    start = arguments.index("--from")
    assert all((ROOT / value).exists() for value in arguments[1:start:2])
    assert arguments[start : start + 3] == ["--from", ".", "millrace"]
    check_millrace(arguments[start + 3 :])


def check_docker(arguments: list[str]) -> None:
    assert arguments[0] in ("build", "run", "compose")
    for option, value in pairwise(arguments):
        if option == "--target":
            assert f" AS {value}\n" in (ROOT / "Dockerfile").read_text()
        if option == "--profile":
            assert f"profiles: [{value}]" in (ROOT / "docker-compose.yml").read_text()


def check_kubectl(arguments: list[str]) -> None:
    assert arguments[:2] == ["apply", "-k"]
    assert (ROOT / arguments[2] / "kustomization.yaml").exists()


def check_curl(arguments: list[str]) -> None:
    """These run against a server, in `tests/e2e/test_document_examples.py`."""
    assert any(argument.startswith("http://127.0.0.1:8000/") for argument in arguments)


CHECKS = {
    "curl": check_curl,
    "docker": check_docker,
    "kubectl": check_kubectl,
    "make": check_make,
    "millrace": check_millrace,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
    "uvx": check_uvx,
}


def lines_of(block: Block) -> Iterator[str]:
    """The commands of a block; those with a body over several lines are one."""
    text = block.text.replace("\\\n", " ")
    pending = ""
    for line in text.splitlines():
        pending += line + "\n"
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation is open
            continue
        if words:
            yield pending.rpartition(" | ")[2] if words[0] == "echo" else pending
        pending = ""
    assert not pending, f"{block} ends within a quotation"


def commands() -> list[tuple[str, str]]:
    """Each command with its place: from shell blocks, and from spans in the prose that begin with a program."""
    found = []
    for page in pages():
        for block in blocks(page):
            if block.language == "sh":
                found += [(str(block), line) for line in lines_of(block)]
        spans = re.findall(rf"`((?:\.venv/bin/)?(?:{'|'.join(CHECKS)}) [^`]+)`", prose(page))
        found += [
            (str(page.relative_to(ROOT)), re.sub(r" \[(--.*?)\]", r" \1", span)) for span in spans if "…" not in span
        ]
    return found


def program_of(command: str) -> tuple[str, list[str]]:
    """The program without its directory, and its arguments; variables set before it are left out."""
    words = shlex.split(command, comments=True)
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    program = words[0].removeprefix(".venv/bin/")
    return "python" if program == "python3" else program, words[1:]


@pytest.mark.parametrize(("place", "command"), commands())
def test_a_command_is_one_that_its_program_takes(place: str, command: str) -> None:
    program, arguments = program_of(command)
    assert program in CHECKS, f"{place}: there is no check for this program yet"
    CHECKS[program](arguments)
