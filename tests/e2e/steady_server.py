"""`millrace serve` in which a step always seems to cost as much as 16 tokens.

The real cost is measured at the start. On a machine that is busy at that moment it may come out so low that no draft
would pay, and what a test says about drafts would depend on who else is at work.

    python -m tests.e2e.steady_server serve demo --speculative ngram
"""

from __future__ import annotations

from app import cli
from app.engine import startup

STEP_COST = 16.0

# At import: the engine's process imports this module too, as multiprocessing's `spawn` does with `__main__`.
startup.measure_step_cost = lambda core, max_num_tokens: STEP_COST  # noqa: ARG005

if __name__ == "__main__":
    cli.main()
