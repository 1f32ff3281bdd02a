"""What a step gave, handed out to the streams that still want it, and told to whoever measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from app.engine.health import EngineObserver
from app.engine.stream import TokenStream
from app.messages import StepOutput

Streams = Mapping[int, TokenStream]
"""The open ones, by their ids; a step may tell of others that have been closed meanwhile."""


def report_progress(output: StepOutput, streams: Streams, observer: EngineObserver, now: float) -> None:
    """Who was scheduled for the first time, who gave its blocks back, and what the prompts were like to the model."""
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


def dispatch_tokens(output: StepOutput, streams: Streams, observer: EngineObserver, now: float) -> list[TokenStream]:
    """Returns who got them, once for each token."""
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
    # Streams that were in the last step had their tokens at the same moment: nearly all of them.
    for previous, count in Counter(earlier).items():
        observer.token_gap(now - previous, count, examples[previous])
    return grown
