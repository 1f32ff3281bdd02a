"""`millrace serve` with an engine that dies as planned: `python -m tests.e2e.deadly_server --plan FILE serve …`."""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial
from pathlib import Path

from app.cli import main as millrace
from app.engine import child, restarts
from tests.e2e.deadly_engine import run_deadly_engine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", type=Path, required=True, help="see `DeadlyStarts`")
    options, arguments = parser.parse_known_args()
    child.run_engine = partial(run_deadly_engine, plan=options.plan)
    # Forked from a process that has imported torch already, which is most of a start.
    multiprocessing.set_forkserver_preload(["app.engine.startup"])
    child.START_METHOD = "forkserver"
    restarts.MAX_DELAY_SECONDS = 0.1
    millrace(arguments)


if __name__ == "__main__":
    main()
