"""The command: sections one after the other, each in a process of its own, then a table and a file of all figures."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic

from app.bench.provenance import Provenance
from tests.bench.gpu.figures import Figure, Missing, Skipped, Tell, table


@dataclass(frozen=True, slots=True)
class Section:
    """`function` in `module` measures; it is given so many seconds at most."""

    module: str
    function: str
    seconds: float

    def load(self) -> Callable[..., None]:
        """Late, so that what one section needs is not needed by the others."""
        function: Callable[..., None] = getattr(import_module(f"tests.bench.gpu.{self.module}"), self.function)
        return function


SECTIONS = {
    "peaks": Section("peaks", "measure", 60),
    "kernels": Section("correct", "kernels", 180),
    "attention": Section("attention", "measure", 120),
    "decode": Section("decode", "measure", 180),
    "tokens": Section("correct", "tokens", 90),
    "waiting": Section("waiting", "measure", 150),
    "start-up": Section("startup", "measure", 180),
    "throughput": Section("throughput", "measure", 300),
    "limit": Section("limit", "measure", 150),
    "http": Section("http", "measure", 240),
    "prepare": Section("tune", "prepare", 300),
    "tune": Section("tune", "measure", 300),
}
"""In the order of their use, should time run out. They do not fit one command of ten minutes all together."""

USUAL = [name for name in SECTIONS if name not in ("prepare", "tune")]
LEAST_SECONDS = 20.0
"""With less time left a section is not begun."""


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if a section failed; an aim that is missed is no failure."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.child:
        return child(options)
    began = monotonic()
    results: list[Figure | Missing] = []
    for name in options.sections:
        left = 60 * options.minutes - (monotonic() - began)
        results += inside(name, options) if options.smoke else beside(name, options, left)
        write(options.out, results, options.smoke)
        print(f"{monotonic() - began:6.0f} s  {name}", flush=True)
    print("\n".join(f"{name}: {value}" for name, value in provenance(options.smoke)))
    print(table(results))
    return int(any(isinstance(result, Missing) and result.is_failure for result in results))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=USUAL, help="[all but prepare and tune]")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all sections together [9.5]")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="for gpu.json and logs [$OUT]"
    )
    parser.add_argument("--smoke", action="store_true", help="everything small and on the CPU, to see that it runs")
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run_section(name: str, options: argparse.Namespace, tell: Tell) -> None:
    from tests.bench.gpu.scale import Scale

    SECTIONS[name].load()(Scale(options.smoke, options.out), tell)


def inside(name: str, options: argparse.Namespace) -> list[Figure | Missing]:
    """In this process, where all is small."""
    results: list[Figure | Missing] = []
    try:
        run_section(name, options, results.append)
    except Skipped as skipped:
        results.append(Missing(name, str(skipped), is_failure=False))
    except Exception as error:
        traceback.print_exc()
        results.append(Missing(name, f"{type(error).__name__}: {error}", is_failure=True))
    return results


def beside(name: str, options: argparse.Namespace, left: float) -> list[Figure | Missing]:
    """In a process of its own: what breaks the device for one section does not break it for the next."""
    seconds = min(SECTIONS[name].seconds, left)
    if seconds < LEAST_SECONDS:
        return [Missing(name, "no time was left", is_failure=True)]
    told, log = options.out / "told.jsonl", options.out / "gpu.log"
    told.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench.gpu", "--child", name, "--out", str(options.out)]
    with log.open("a") as output:
        print(f"== {name}", file=output, flush=True)
        try:
            code = subprocess.run(command, stdout=output, stderr=output, timeout=seconds, check=False).returncode
            reason = f"ended with {code}: {last_line(log)}"
        except subprocess.TimeoutExpired:
            code, reason = -1, f"not done after {seconds:.0f} s"
    results = [parse_result(line) for line in told.read_text().splitlines()] if told.exists() else []
    told.unlink(missing_ok=True)
    return [*results, Missing(name, reason, is_failure=True)] if code else results


def child(options: argparse.Namespace) -> int:
    """One section, each figure written as soon as it is known."""
    with (options.out / "told.jsonl").open("a", buffering=1) as told:
        try:
            run_section(options.child, options, lambda figure: print(json.dumps(figure.as_json()), file=told))
        except Skipped as skipped:
            print(json.dumps(Missing(options.child, str(skipped), is_failure=False).as_json()), file=told)
    return 0


def parse_result(line: str) -> Figure | Missing:
    fields = json.loads(line)
    if "reason" in fields:
        return Missing(**fields)
    return Figure(**{name: fields[name] for name in Figure.__slots__} | {"values": tuple(fields["values"])})


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def write(directory: Path, results: list[Figure | Missing], smoke: bool) -> None:
    facts = dict(provenance(smoke))
    document = {"facts": facts, "results": [result.as_json() for result in results]}
    (directory / "gpu.json").write_text(json.dumps(document, indent=1) + "\n")


def provenance(smoke: bool) -> list[tuple[str, str]]:
    import torch

    where = "none: everything is small, on the CPU" if smoke or not torch.cuda.is_available() else ""
    return [*Provenance.now(own_server=True).lines(), ("device", where or torch.cuda.get_device_name())]


if __name__ == "__main__":
    sys.exit(main())
