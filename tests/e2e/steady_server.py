"""`millrace serve` in which a step always seems to cost as much as 8 tokens.

The real cost is measured at the start. On a machine that is busy at that moment it may come out so low that no draft
would pay, and what a test says about drafts would depend on who else is at work.

    python -m tests.e2e.steady_server serve demo --speculative ngram
"""

from __future__ import annotations

from app.cli import main
from app.engine import startup

STEP_COST = 8.0


def fix_step_cost() -> None:
    startup.measure_step_cost = lambda core, max_num_tokens: STEP_COST  # noqa: ARG005


fix_step_cost()  # in the engine's process too, which imports this module as multiprocessing's `spawn` does

if __name__ == "__main__":
    main()
