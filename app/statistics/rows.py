"""The rows of the statistics. Field names are sent once, then only values: times in seconds, and counts."""

from __future__ import annotations

from typing import NamedTuple

from app.engine.stream import EndReason


class Frame(NamedTuple):
    """What happened in the `seconds` before `time` (Unix time), and the state at that moment.

    Of the blocks, `used` ones are referenced, and `shared` ones more than once; `cached` ones are free but can be found
    by their prefix. The fields from `steps` to `preempted` count since the previous frame. Percentiles are over the
    last `collector.WINDOW_FRAMES` frames, None if nothing was measured.
    """

    time: float
    seconds: float
    running: int
    waiting: int
    used: int
    shared: int
    cached: int
    steps: int
    prefill_tokens: int
    decode_tokens: int
    output_tokens: int
    prefix_queried: int
    prefix_hits: int
    preempted: int
    ttft_p50: float | None
    ttft_p90: float | None
    ttft_p99: float | None
    itl_p50: float | None
    itl_p90: float | None
    itl_p99: float | None
    e2e_p50: float | None
    e2e_p90: float | None
    e2e_p99: float | None


class Step(NamedTuple):
    """One step that computed something."""

    time: float
    prefill_tokens: int
    decode_tokens: int
    seconds: float


class FinishedRequest(NamedTuple):
    """A sequence that has ended; none of its text is kept.

    `time` is Unix time. `queue`, `ttft`, `itl` (the mean) and `total` are in seconds, None if it did not get that far.
    `concurrency` is the mean number of running sequences while it decoded, including itself; None with fewer than two
    tokens.
    """

    number: int
    time: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    queue: float | None
    ttft: float | None
    itl: float | None
    total: float
    reason: EndReason
    concurrency: float | None
    model: str
