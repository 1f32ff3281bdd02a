"""The command: sections one after the other, each in a process of its own, then a table and a file of all figures."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import IO

from tests.bench.gpu.figures import Figure, Missing, Skipped, Tell, table
from tests.bench.gpu.record import TOLD, Record, facts_of, read_told


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
    "tokens": Section("correct", "tokens", 90),
    "throughput": Section("throughput", "measure", 300),
    "http": Section("http", "measure", 240),
    "startup": Section("startup", "measure", 180),
    "limit": Section("limit", "measure", 150),
    "attention": Section("attention", "measure", 120),
    "prompts": Section("prompts", "measure", 150),
    "decode": Section("decode", "measure", 180),
    "waiting": Section("waiting", "measure", 150),
    "prepare": Section("tune", "prepare", 300),
    "tune": Section("tune", "measure", 300),
}
"""In the order of their use, should time run out. They do not fit one command of ten minutes all together
(NOTES.md says how long each should take)."""

USUAL = [name for name in SECTIONS if name not in ("prepare", "tune")]
MIN_SECONDS = 20.0
"""With less time left a section is not begun."""


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if a section failed; an aim that is missed is no failure."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.child:
        return child(options)
    began = monotonic()
    record = Record.after(options.after or options.out, facts_of(options.smoke))
    for name in options.sections:
        if name not in record.done:
            record.write(options.out)
            left = options.deadline - (monotonic() - began)
            before = record.figures_of(name)
            record.add(name, inside(name, options, before) if options.smoke else beside(name, options, left))
        print(f"{monotonic() - began:6.0f} s  {name}", flush=True)
    record.write(options.out)
    print("\n".join(f"{name}: {value}" for name, value in record.facts.items()))
    print(table(record.results.values()))
    return int(any(isinstance(result, Missing) and result.is_failure for result in record.results.values()))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu")
    parser.add_argument(
        "--sections", nargs="+", default=USUAL, metavar="NAME", help=f"of {', '.join(SECTIONS)} [all but the last two]"
    )
    parser.add_argument("--deadline", type=float, default=570, metavar="SECONDS", help="for all of them together [570]")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="for gpu.json and logs [$OUT]"
    )
    parser.add_argument("--after", type=Path, help="where an earlier command left off; its figures are kept [--out]")
    parser.add_argument("--smoke", action="store_true", help="everything small and on the CPU, to see that it runs")
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.sections = [name for given in options.sections for name in given.split(",")]
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"no sections {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return options


def run_section(name: str, options: argparse.Namespace, tell: Tell) -> None:
    from tests.bench.gpu.scale import Scale

    SECTIONS[name].load()(Scale(options.smoke, options.out), tell)


def inside(name: str, options: argparse.Namespace, before: list[Figure]) -> list[Figure | Missing]:
    """In this process, where all is small."""
    results: list[Figure | Missing] = []
    try:
        run_section(name, options, Tell(results.append, before))
    except Skipped as skipped:
        results.append(Missing(name, str(skipped), is_failure=False))
    except Exception as error:  # the other sections are worth having all the same
        traceback.print_exc()
        results.append(Missing(name, f"{type(error).__name__}: {error}", is_failure=True))
    return results


def beside(name: str, options: argparse.Namespace, left: float) -> list[Figure | Missing]:
    """In a process of its own: what breaks the device for one section does not break it for the next."""
    seconds = min(SECTIONS[name].seconds, left)
    if seconds < MIN_SECONDS:
        return [Missing(name, "no time was left", is_failure=True)]
    told, log = options.out / TOLD, options.out / "gpu.log"
    told.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench.gpu", "--child", name, "--out", str(options.out)]
    with log.open("a") as output:
        print(f"== {name}", file=output, flush=True)
        try:
            code = run_bounded(command, output, seconds)
            reason = f"ended with {code}: {last_line(log)}"
        except subprocess.TimeoutExpired:
            code, reason = -1, f"not done after {seconds:.0f} s"
    results = read_told(options.out)
    told.unlink(missing_ok=True)
    return [*results, Missing(name, reason, is_failure=True)] if code else results


def run_bounded(command: list[str], output: IO[str], seconds: float) -> int:
    """Raises TimeoutExpired, and ends with the command whatever it started: that would keep the device's memory."""
    with subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def child(options: argparse.Namespace) -> int:
    """One section, each figure written as soon as it is known."""
    before = Record.after(options.out, facts_of(smoke=False)).figures_of(options.child)
    with (options.out / TOLD).open("a", buffering=1) as told:
        try:
            tell = Tell(lambda figure: print(json.dumps(figure.as_json()), file=told), before)
            run_section(options.child, options, tell)
        except Skipped as skipped:
            print(json.dumps(Missing(options.child, str(skipped), is_failure=False).as_json()), file=told)
    return 0


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
