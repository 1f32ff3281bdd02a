"""Caveats: what a reader must know before trusting the numbers of a run."""

from __future__ import annotations

from app.bench.drive import Run
from app.bench.summary import Summary

BUSY_SHARE = 0.5
LATE_MS = 10.0
SHOWN_ERRORS = 3
MERGED = 1.1
"""Mean number of tokens per event above which ITL is no longer the time per token."""


def caveats(run: Run, summary: Summary, workload: str) -> list[str]:
    """One sentence for everything that is not as it should be; no sentences is good."""
    notes = [*_failures(summary), *run.notes, *_lengths(run, summary)]
    if summary.num_without_text:
        notes.append(f"{summary.num_without_text} answers had no text at all: they have no TTFT")
    if summary.tokens_per_event is not None and summary.tokens_per_event > MERGED:
        notes.append(f"an event carried {summary.tokens_per_event:.2f} tokens on average: ITL is between events")
    if summary.client_share > BUSY_SHARE:
        notes.append(f"this client used {summary.client_share:.0%} of a core: it may have been what was measured")
    if summary.lateness is not None and summary.lateness.p99 > LATE_MS:
        notes.append(f"1 % of the requests were sent {summary.lateness.p99:.0f} ms or more after their time")
    cached = summary.cached_tokens or 0
    if workload != "prefix" and cached > 0.01 * summary.prompt_tokens:
        share = cached / summary.prompt_tokens
        notes.append(f"{share:.0%} of the prompt tokens came from the server's cache: use another --seed")
    return notes


def _failures(summary: Summary) -> list[str]:
    if not summary.num_failed:
        return []
    lines = [f"{summary.num_failed} of {summary.num_sent} requests failed; no latency or rate counts them"]
    lines += [f"{count} x {error}" for error, count in summary.errors[:SHOWN_ERRORS]]
    if len(summary.errors) > SHOWN_ERRORS:
        lines.append(f"and {len(summary.errors) - SHOWN_ERRORS} other errors (--json has them all)")
    return lines


def _lengths(run: Run, summary: Summary) -> list[str]:
    notes = []
    if summary.num_ended_early:
        notes.append(f"{summary.num_ended_early} answers ended with fewer tokens than requested")
    ok = [outcome for outcome in run.outcomes if outcome.ok]
    if any(outcome.counted_tokens is None for outcome in ok):
        notes.append("the server sent no usage: an event counts as one output token")
    counted = [outcome for outcome in ok if outcome.num_prompt_tokens is not None]
    asked = sum(outcome.planned.num_prompt_tokens for outcome in counted)
    found = sum(outcome.num_prompt_tokens or 0 for outcome in counted)
    if asked != found:
        notes.append(
            f"the server counted {found / len(counted):.1f} tokens a prompt, intended were {asked / len(counted):.1f}"
        )
    return notes
