"""What becomes of many model types, each started for real, many in one process after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Timer

from tests.census.outcome import Outcome

ROOT = Path(__file__).parent.parent.parent
SECONDS_FOR_ONE = 120
"""After so long without a word a process is ended; the type at which it stood has crashed."""


def survey(names: Sequence[str]) -> dict[str, Outcome]:
    """An outcome for each name. Where a process dies, the type is known, and the rest goes on in a new one."""
    outcomes: dict[str, Outcome] = {}
    while left := [name for name in names if name not in outcomes]:
        outcomes |= dict(_outcomes_of_one_process(left))
    return outcomes


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """How many there are of each verdict."""
    counts = Counter(outcome.verdict for outcome in outcomes.values())
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def _outcomes_of_one_process(names: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.census.run", *names]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for name in names:
            late = Timer(SECONDS_FOR_ONE, process.kill)
            late.start()
            line = process.stdout.readline()
            late.cancel()
            if not line:
                yield name, Outcome("crash", f"the process ended with {process.wait()}")
                return
            yield name, Outcome(**json.loads(line))
