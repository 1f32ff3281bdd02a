"""Dispatches the output of a step to the streams that still want it, and reports it to the observer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from app.engine.health import EngineObserver
from app.engine.stream import TokenStream
from app.messages import StepOutput

Streams = Mapping[int, TokenStream]
"""The open streams by sequence id; a step's output may name others, which have been closed meanwhile."""


def dispatch(
    output: StepOutput, streams: Streams, observer: EngineObserver, now: float
) -> tuple[list[TokenStream], list[TokenStream]]:
    """Give the streams the tokens and ends of a step that arrived at `now` (seconds, monotonic clock); wakes no reader.

    Returns the streams that got tokens, once for each token, and those that ended.
    """
    _report_progress(output, streams, observer, now)
    grown = _dispatch_tokens(output, streams, observer, now)
    ended = [streams[seq_id] for seq_id in output.finished if seq_id in streams]
    for stream in ended:
        stream.end(output.finished[stream.seq_id])
    return grown, ended


def _report_progress(output: StepOutput, streams: Streams, observer: EngineObserver, now: float) -> None:
    """Record which sequences were scheduled for the first time or preempted, and the logprobs of prompts."""
    for seq_id, num_cached in output.admitted.items():
        stream = streams.get(seq_id)
        if stream is not None and stream.times.scheduled is None:
            stream.num_cached_tokens = num_cached
            stream.times.scheduled = now - output.stats.execute_seconds
            observer.sequence_scheduled(stream)
    for seq_id in output.preempted:
        if stream := streams.get(seq_id):
            stream.times.preempted.append(now)
    for seq_id, prompt_logprobs in output.prompt_logprobs.items():
        if stream := streams.get(seq_id):
            stream.prompt_logprobs.extend(prompt_logprobs)


def _dispatch_tokens(output: StepOutput, streams: Streams, observer: EngineObserver, now: float) -> list[TokenStream]:
    """Append each token to its stream. Returns the streams that got one, once for each token."""
    grown: list[TokenStream] = []
    earlier: list[float] = []
    examples: dict[float, TokenStream] = {}
    for row, (seq_id, token_id) in enumerate(zip(output.seq_ids, output.token_ids, strict=True)):
        if stream := streams.get(seq_id):
            previous = stream.times.last_token
            stream.push(token_id, output.logprobs.get(row), now)
            grown.append(stream)
            if previous is None:
                observer.first_token(stream)
            else:
                earlier.append(previous)
                examples[previous] = stream
    # Nearly all streams got their previous token in the last step, at the same moment, so they are reported together.
    for previous, count in Counter(earlier).items():
        observer.token_gap(now - previous, count, examples[previous])
    return grown
