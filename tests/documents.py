"""The documents of the repository: pages, code blocks, links, and the tables that are generated.

`python -m tests.documents` writes the generated tables into their pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.config import Config, load_defaults
from app.settings import GROUPS

ROOT = Path(__file__).parent.parent
SETTINGS_PAGE = ROOT / "config" / "README.md"
SETTINGS_MARK = "<!-- settings: written by `python -m tests.documents` -->\n"
END_MARK = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code: where it begins, and its language (empty where none is named)."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def pages() -> tuple[Path, ...]:
    """Every Markdown file, without those in hidden directories such as `.venv`."""
    visible = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
    return tuple(sorted(path for top in visible for path in top.rglob("*.md")) + sorted(ROOT.glob("*.md")))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, from the first to the last."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets of the links and pictures in the page's prose."""
    without_code = re.sub(r"`[^`\n]*`", "code", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def anchors(page: Path) -> set[str]:
    """Names of the page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: Path, heading: str) -> str:
    """What is under a heading of the second level, up to the next one."""
    return page.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def table_rows(text: str) -> list[list[str]]:
    """The cells of all table rows in the text, without heads and rulers."""
    lines = text.splitlines()
    rows = []
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and re.fullmatch(r"\|(-+\||\s*-+\s*\|)+", lines[number + 1]) is not None
        if line.startswith("|") and not is_head and not re.fullmatch(r"[|\s-]+", line):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def settings_table() -> str:
    """Every setting with its default and its help, group by group, as a Markdown table."""
    defaults = load_defaults()
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for group in GROUPS:
        lines.append(f"| **{group.heading}** | | |")
        for name in group.model_fields:
            default = f"`{_written(defaults[name])}`" if name in defaults else ""
            lines.append(f"| `{name}` | {default} | {Config.model_fields[name].description} |")
    return "\n".join(lines) + "\n"


def with_settings(text: str) -> str:
    """The page with the generated table between its marks."""
    before, rest = text.split(SETTINGS_MARK)
    return f"{before}{SETTINGS_MARK}{settings_table()}{END_MARK}{rest.split(END_MARK, 1)[1]}"


def _written(value: object) -> str:
    """A default as it would be given on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(with_settings(SETTINGS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
