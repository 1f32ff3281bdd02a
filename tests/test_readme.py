"""What the README says of settings, metrics and models is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from app.api.errors import CODES
from app.config import Config, load_defaults
from app.messages import FinishReason
from app.metrics import Metrics
from tests.models import ARCHITECTURES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def table_rows(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def test_every_setting_is_listed_with_its_default_and_its_help() -> None:
    defaults = load_defaults()
    expected = [
        [f"`{name}`", f"`{defaults[name]}`" if name in defaults else "", field.description]
        for name, field in Config.model_fields.items()
    ]
    assert table_rows("Configuration") == expected


def test_every_metric_is_listed() -> None:
    exposed = {
        family.name.removeprefix("millrace_") + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
        if family.name.startswith("millrace_")
    }
    listed = {re.match(r"`(\w+)`", row[0])[1] for row in table_rows("Metrics")}  # type: ignore[index]
    assert listed == exposed


def test_every_architecture_that_is_tested_is_listed_as_served() -> None:
    [served, _refused] = next(row for row in table_rows("Serve your own model"))
    assert {re.sub(r" \(.*?\)", "", name) for name in served.split(", ")} == set(ARCHITECTURES)


def test_every_code_of_an_error_is_listed_and_no_other() -> None:
    """By the literals in the code: what is given as a `code`, and what of the listed is written nowhere."""
    sources = "".join(path.read_text() for path in (ROOT / "app" / "api").rglob("*.py"))
    written = set(re.findall(r'"(\w+)"', sources)) | set(FinishReason)
    given = set(re.findall(r'\bcode="(\w+)"', sources)) | {"queue_timeout", "request_timeout", *CODES.values()}
    rows = [row for row in table_rows("The API") if re.match(r"\d", row[0])]
    listed = set(re.findall(r"`(\w+)`", " ".join(row[1] for row in rows))) - {"param"}
    assert given - {"client_gone"} <= listed <= written | set(CODES.values())
