"""How the engine of a measurement is set, and what it says of itself."""

from __future__ import annotations

import argparse
import re

from tests.e2e.server import ServerProcess


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", default="auto", help="of the engine [auto]")
    parser.add_argument("--threads", default="auto", help="of the engine [auto]")


def engine_options(options: argparse.Namespace) -> list[str]:
    return ["--backend", options.backend, "--threads", options.threads]


def engine_line(server: ServerProcess) -> str:
    """The line in which the engine tells its model, device, backend, threads and cache."""
    found = re.search(r"millrace\.engine: (model .*)", server.output)
    return found[1] if found else "unknown"
