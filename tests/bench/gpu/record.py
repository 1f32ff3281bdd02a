"""All figures so far, in a file that the next command goes on from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from app.bench.provenance import Provenance
from tests.bench.gpu.figures import Figure, Missing

FILE, TOLD = "gpu.json", "told.jsonl"
"""Of all sections, and of the one that runs, line by line."""

COMPARED = ("commit", "versions", "device")
"""Facts without which figures do not belong together."""


@dataclass(slots=True)
class Record:
    """`results` by section and name, in the order in which they came; `done`: sections that came to their end."""

    facts: dict[str, str]
    results: dict[tuple[str, str], Figure | Missing] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @classmethod
    def after(cls, directory: Path, facts: dict[str, str]) -> Record:
        """What an earlier command left, ended or not; nothing if it was of another commit, device or version."""
        record = cls(facts)
        if not (directory / FILE).exists():
            return record
        document = json.loads((directory / FILE).read_text())
        if any(comparable(document["facts"][name]) != comparable(facts[name]) for name in COMPARED):
            return record
        record.done = document["done"]
        for result in (*map(parse, document["results"]), *read_told(directory)):
            record.results[key(result)] = result
        return record

    def figures_of(self, section: str) -> list[Figure]:
        return [r for r in self.results.values() if isinstance(r, Figure) and r.section == section]

    def add(self, section: str, results: list[Figure | Missing]) -> None:
        """What a section told; if it did not come to its end, what it told before is kept."""
        self.results.pop((section, ""), None)
        self.results |= {key(result): result for result in results}
        if not any(isinstance(result, Missing) for result in results):
            self.done.append(section)

    def write(self, directory: Path) -> None:
        results = [result.as_json() for result in self.results.values()]
        document = {"facts": self.facts, "done": self.done, "results": results}
        (directory / FILE).write_text(json.dumps(document, indent=1) + "\n")


def comparable(fact: str) -> str:
    """Without whether files differ from the commit: figures that lie in the checkout do."""
    return fact.removesuffix(" with uncommitted changes")


def key(result: Figure | Missing) -> tuple[str, str]:
    return result.section, result.name if isinstance(result, Figure) else ""


def read_told(directory: Path) -> list[Figure | Missing]:
    """A last line that was cut off is left out."""
    path = directory / TOLD
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [parse(json.loads(line)) for line in lines if line.endswith("\n")]


def parse(fields: dict[str, object]) -> Figure | Missing:
    if "reason" in fields:
        return Missing(**fields)  # type: ignore[arg-type]
    known = {name: fields[name] for name in Figure.__slots__}
    return Figure(**known | {"values": tuple(fields["values"])})  # type: ignore[arg-type]


def facts_of(smoke: bool) -> dict[str, str]:
    import torch

    where = "none: everything is small, on the CPU" if smoke or not torch.cuda.is_available() else ""
    return dict([*Provenance.now(own_server=True).lines(), ("device", where or torch.cuda.get_device_name())])
