"""What the statistics are made of, as rows: names once, then numbers. Times are seconds, all else counts."""

from __future__ import annotations

from typing import NamedTuple

from app.messages import FinishReason


class Frame(NamedTuple):
    """What happened in the `seconds` before `time` (of the epoch), and how things stood then.

    `used` blocks are referenced, `shared` among them more than once; `cached` ones are free but can be found by their
    prefix. From `steps` on all were counted since the frame before. Percentiles are over the last
    `recorder.WINDOW_FRAMES`; None where nothing was measured.
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
    """A sequence that has ended, without a word of its text.

    `queue`, `ttft`, `itl` (the mean) and `total` are seconds, None where it did not come to that. `concurrency` is how
    many sequences ran while it decoded, itself among them, on average; None without two tokens.
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
    reason: FinishReason
    concurrency: float | None
    model: str
