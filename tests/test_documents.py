"""The documents are short, lead somewhere, name what there is, and list all of it."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from starlette.routing import Route

from app.api.errors import CODES
from app.api.gate.key_list import parse_file
from app.api.openai.schemas.chat import ChatCompletionRequest
from app.api.openai.schemas.completion import CompletionRequest
from app.api.routes import ENDPOINTS, OTHER_ROUTERS
from app.chat.commands import HELP
from app.engine.stream import CutReason
from app.messages import FinishReason
from app.metrics import Metrics
from tests.documents import (
    ROOT,
    SETTINGS_PAGE,
    Block,
    anchors,
    blocks,
    links,
    pages,
    prose,
    section,
    table_rows,
    with_settings,
)
from tests.models import ARCHITECTURES

MAX_BYTES = 20_000
MAX_README_BYTES = 8_000
GROWING = ("CHANGELOG.md", "app/bench/RESULTS.md")
"""Pages to which something is only ever added."""

API_PAGE = ROOT / "app" / "api" / "README.md"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def every_block(*languages: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.language in languages]


every_page = pytest.mark.parametrize("page", pages(), ids=name_of)


# Pages


@every_page
def test_no_page_is_too_long(page: Path) -> None:
    limit = MAX_README_BYTES if page.parent == ROOT and page.name == "README.md" else MAX_BYTES
    assert name_of(page) in GROWING or page.stat().st_size <= limit


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_first() -> None:
    pending, reached = [ROOT / "README.md"], set[Path]()
    while pending:
        page = pending.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        pending += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link]
    assert reached >= set(pages())


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """What is in backticks and begins with a directory that exists beside the page, in `app` or at the root."""
    for span in re.findall(r"`([\w.-]+/[\w./*-]*)`", prose(page)):
        bases = [base for base in (page.parent, ROOT / "app", ROOT) if (base / span.split("/")[0]).is_dir()]
        assert not bases or any(list(base.glob(span.rstrip("/"))) for base in bases), span


def test_nobody_is_told_to_install_the_package_of_somebody_else() -> None:
    """The name on the package index is not ours."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(install|add|uvx|run)\s+['\"]?millrace\b", text), page


# Tables


def test_the_table_of_settings_is_the_generated_one() -> None:
    """`python -m tests.documents` writes it."""
    text = SETTINGS_PAGE.read_text(encoding="utf-8")
    assert text == with_settings(text)


def test_every_metric_is_listed_with_its_type() -> None:
    exposed = {
        (family.name.removeprefix("millrace_") + ("_total" if family.type == "counter" else ""), family.type)
        for family in Metrics().registry.collect()
        if family.name.startswith("millrace_")
    }
    rows = table_rows(section(SETTINGS_PAGE, "Metrics"))
    assert {(re.findall(r"`(\w+)`", row[0])[0], row[1]) for row in rows} == exposed


def test_every_alert_is_in_the_runbook() -> None:
    alerts = yaml.safe_load((ROOT / "config" / "prometheus" / "rules" / "alerts.yml").read_text())
    named = {rule["alert"] for group in alerts["groups"] for rule in group["rules"]}
    listed = re.findall(r"`(Millrace\w+)`", " ".join(row[0] for row in table_rows(section(SETTINGS_PAGE, "Runbook"))))
    assert sorted(listed) == sorted(named)


def test_every_architecture_that_is_tested_is_listed_as_served() -> None:
    [[served, _refused]] = table_rows(section(ROOT / "app" / "model" / "README.md", "What is served"))
    assert {re.sub(r" \(.*?\)", "", name) for name in served.split(", ")} == set(ARCHITECTURES)


def test_every_code_of_an_error_is_listed_and_no_other() -> None:
    """By the literals in the code: what is given as a `code`, and what of the listed is written nowhere."""
    sources = "".join(path.read_text() for path in (ROOT / "app" / "api").rglob("*.py"))
    written = set(re.findall(r'"(\w+)"', sources)) | {*FinishReason, *CutReason}
    given = set(re.findall(r'\bcode="(\w+)"', sources)) | {"queue_timeout", "request_timeout", *CODES.values()}
    rows = table_rows(section(API_PAGE, "Errors"))
    listed = set(re.findall(r"`(\w+)`", " ".join(row[1] for row in rows))) - {"param"}
    assert given - {"client_gone"} <= listed <= written | set(CODES.values())


def test_every_route_is_listed() -> None:
    routers = [endpoint.router for endpoint in ENDPOINTS] + list(OTHER_ROUTERS)
    served = {route.path for router in routers for route in router.routes if isinstance(route, Route)}
    served = served - {"/assets/{path:path}"} | {"/openapi.json"}
    listed = re.findall(r"`(?:GET|POST) (/[^`]*)`", " ".join(row[0] for row in table_rows(section(API_PAGE, "Routes"))))
    assert {re.sub(r"{.*?}", "{}", path) for path in listed} == {re.sub(r"{.*?}", "{}", path) for path in served}


def test_every_field_of_a_request_is_listed_with_its_default() -> None:
    found: dict[str, dict[str, str]] = {}
    for names, defaults, _ in table_rows(section(API_PAGE, "Fields")):
        if names.startswith("**"):
            group = found.setdefault(names.strip("*"), {})
            continue
        fields, given = re.findall(r"`(\w+)`", names), [cell.strip(" `") for cell in defaults.split(",")]
        group.update(zip(fields, given * len(fields) if len(given) == 1 else given, strict=True))
    for kind, schema in (("completions", CompletionRequest), ("chat", ChatCompletionRequest)):
        listed = found["both"] | found[kind]
        assert set(listed) == set(schema.model_fields)
        for name, field in schema.model_fields.items():
            default = "" if field.is_required() or field.default is None else json.dumps(field.default)
            assert listed[name] == default, name


def test_every_field_that_is_not_implemented_is_listed() -> None:
    sentence = section(API_PAGE, "Fields").split("Known and not implemented")[1].split("\n\n")[0]
    completions, chat = (set(re.findall(r"`(\w+)`", part)) for part in sentence.split(";"))
    assert completions == set(CompletionRequest.not_done)
    assert chat == set(ChatCompletionRequest.not_done)


def test_names_that_the_architecture_page_gives_are_in_the_code() -> None:
    page = ROOT / "app" / "README.md"
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    named = re.findall(
        r"`([A-Za-z_]\w+)(?:\.\w+|\(.*?\))?`", section(page, "Words") + section(page, "The life of a request")
    )
    assert {name for name in named if not re.search(rf"\b{name}\b", sources)} == set()


def test_the_layout_names_every_package() -> None:
    page = ROOT / "app" / "README.md"
    [layout] = re.findall(r"```\n(.*?)```", section(page, "Layout"), re.DOTALL)
    listed = set(re.findall(r"\b(\w+)/", "\n".join(line[:33] for line in layout.splitlines() if line[:1].isalpha())))
    assert listed == {path.name for path in (ROOT / "app").iterdir() if path.is_dir() and path.name[0] != "_"}


def test_every_command_of_the_chat_in_the_terminal_is_listed() -> None:
    listed = {row[0] for row in table_rows(section(ROOT / "app" / "web" / "README.md", "In the terminal"))}
    known = re.findall(r"^(/\w+)", HELP, re.MULTILINE)
    assert {word for cell in listed for word in re.findall(r"`(/\w+)", cell)} == set(known)


def test_every_target_of_make_is_listed() -> None:
    [targets] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    rows = table_rows(section(ROOT / "CONTRIBUTING.md", "Commands"))
    assert {cell.removeprefix("`make ").removesuffix("`") for cell, _ in rows} == set(targets.split())


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [(name, date) for name, date in headings if name != "Unreleased"]
    assert version in dict(released)
    assert all(date for _, date in released)
    assert headings[0][0] in ("Unreleased", released[0][0])
    assert released == sorted(released, key=lambda each: tuple(map(int, each[0].split("."))), reverse=True)


# Blocks; what those of the shell say is in test_document_commands.py


@pytest.mark.parametrize("block", every_block("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    for line in block.text.splitlines():
        json.loads(line)


@pytest.mark.parametrize("block", every_block("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


def test_the_file_of_keys_is_read_as_it_is_shown() -> None:
    [shown] = [block.text for block in blocks(API_PAGE) if "requests_per_minute=" in block.text]
    found = parse_file(shown.replace("DIGEST", "0" * 64).encode(), "the example")
    assert [key.name for key in found.keys] == ["alice", "batch"]
    assert set(found.limits) == {"*", "alice", "batch"}
