"""The workloads: which requests are sent and when. The same settings and seed give the same requests and times."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Lengths:
    """The number of tokens of each prompt and of each output."""

    prompt: int
    output: int


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request to be sent `at` seconds after its stage begins. Lengths are in tokens.

    The prompt is generated from `seed`; its first `num_prefix_tokens` from `prefix_seed`, which others may share.
    """

    seed: str
    num_prompt_tokens: int
    num_output_tokens: int
    at: float = 0.0
    prefix_seed: str = ""
    num_prefix_tokens: int = 0
    label: str = ""

    @property
    def num_tokens(self) -> int:
        return self.num_prompt_tokens + self.num_output_tokens


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests under one load.

    With `concurrency`, that many streams run at once, and the next one starts when one ends (a closed loop; `load` is
    the number of streams). Otherwise each is sent at its time, whatever the server does (an open loop; `load` is in
    requests/s).
    """

    requests: tuple[PlannedRequest, ...]
    concurrency: int | None
    load: float

    @property
    def load_text(self) -> str:
        if self.concurrency is None:
            return f"{self.load:.3g} requests/s"
        return f"{self.concurrency} stream{'s' if self.concurrency > 1 else ''}"


def closed_loop(concurrency: int, num_requests: int, lengths: Lengths, seed: str) -> Stage:
    """`concurrency` streams at once until `num_requests` have been sent."""
    return Stage(_alike(num_requests, lengths, f"{seed}/streams{concurrency}"), concurrency, concurrency)


def poisson(rate: float, num_requests: int, lengths: Lengths, seed: str) -> Stage:
    """Arrivals of a Poisson process, under the condition that `num_requests` arrive in `num_requests / rate` seconds.

    Such arrivals are independent and uniform over that time, so the mean rate is exactly the given one.
    """
    draw = random.Random(f"{seed}/arrivals{rate}")
    times = sorted(draw.uniform(0, num_requests / rate) for _ in range(num_requests))
    alike = _alike(num_requests, lengths, f"{seed}/rate{rate}")
    return Stage(tuple(replace(one, at=at) for one, at in zip(alike, times, strict=True)), None, rate)


def shared_prefixes(num_prefixes: int, num_again: int, num_prefix_tokens: int, tail: Lengths, seed: str) -> Stage:
    """One at a time: a prompt with a new prefix (`first`), then `num_again` others with the same one (`again`)."""
    requests = [
        PlannedRequest(
            seed=f"{seed}/tail{group}.{number}",
            num_prompt_tokens=num_prefix_tokens + tail.prompt,
            num_output_tokens=tail.output,
            prefix_seed=f"{seed}/prefix{group}",
            num_prefix_tokens=num_prefix_tokens,
            label="again" if number else "first",
        )
        for group in range(num_prefixes)
        for number in range(1 + num_again)
    ]
    return Stage(tuple(requests), 1, 1)


def fit(requests: Iterable[PlannedRequest], max_model_len: int | None) -> tuple[tuple[PlannedRequest, ...], int]:
    """Cut prompts, and then outputs, to `max_model_len` tokens in all. Also returns how many had to be cut."""
    fitted, num_cut = [], 0
    for one in requests:
        if max_model_len is not None and one.num_tokens > max_model_len:
            num_output_tokens = min(one.num_output_tokens, max_model_len - 1)
            fitted.append(
                replace(
                    one,
                    num_prompt_tokens=max_model_len - num_output_tokens,
                    num_output_tokens=num_output_tokens,
                )
            )
            num_cut += 1
        else:
            fitted.append(one)
    return tuple(fitted), num_cut


def _alike(num_requests: int, lengths: Lengths, seed: str) -> tuple[PlannedRequest, ...]:
    return tuple(PlannedRequest(f"{seed}/{number}", lengths.prompt, lengths.output) for number in range(num_requests))
