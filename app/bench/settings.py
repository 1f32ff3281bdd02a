"""The settings of a benchmark over HTTP, with the defaults of each workload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.bench.outcome import BenchError
from app.bench.summary import LatencyTargets
from app.bench.workload import Lengths

RAMP_LIMITS = LatencyTargets((("ttft", 1000.0), ("itl", 200.0)))
MAX_LONG_TOKENS = 1024
MAX_PREFIX_TOKENS = 1000
LONG_OUTPUT_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one benchmark. Lengths are in tokens, rates in requests/s, times in seconds."""

    workload: str
    seed: int
    concurrency: tuple[int, ...] | None = None
    rate: tuple[float, ...] = (1.0,)
    duration: float | None = None
    requests: int | None = None
    ramp_factor: float = 1.5
    stages: int = 12
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    long_prompt_tokens: int | None = None
    prefix_tokens: int | None = None
    prefixes: int = 4
    trace: Path | None = None
    speedup: float = 1.0
    limit: int | None = None
    slo: LatencyTargets | None = None
    warmup: int = 1
    repeat: int = 1

    def check(self) -> None:
        """Raise BenchError for settings that contradict each other."""
        if self.workload == "trace" and self.trace is None:
            raise BenchError("the workload trace needs --trace FILE")
        if self.workload == "ramp" and (len(self.rate) > 1 or self.ramp_factor <= 1):
            raise BenchError("a ramp begins at one --rate, and its --ramp-factor is above 1")

    @property
    def limits(self) -> LatencyTargets | None:
        """The latency targets for goodput. A ramp has defaults, because it ends when goodput falls."""
        return self.slo or (RAMP_LIMITS if self.workload == "ramp" else None)

    @property
    def streams(self) -> tuple[int, ...]:
        """The number of concurrent streams in each stage."""
        return self.concurrency or ((4,) if self.workload == "interference" else (8,))

    @property
    def lengths(self) -> Lengths:
        prompt, output = {"interference": (128, 256), "prefix": (16, 16)}.get(self.workload, (128, 128))
        return Lengths(self.prompt_tokens or prompt, self.output_tokens or output)

    def long_prompt(self, max_model_len: int | None) -> int:
        """Length of the prompt that interferes: the setting, or what fits the server, up to 1,024 tokens."""
        room = (max_model_len or 2 * MAX_LONG_TOKENS) - LONG_OUTPUT_TOKENS
        return self.long_prompt_tokens or min(MAX_LONG_TOKENS, room)

    def prefix(self, max_model_len: int | None) -> int:
        """Length of the shared prefix: the setting, or what fits the server, up to 1,000 tokens."""
        room = (max_model_len or 2 * MAX_PREFIX_TOKENS) - self.lengths.prompt - self.lengths.output
        return self.prefix_tokens or min(MAX_PREFIX_TOKENS, room)

    def check_lengths(self, max_model_len: int | None) -> None:
        """Raise BenchError if a request would not fit the server. Traces are cut to fit instead."""
        needed = {"prompt and output": self.lengths.prompt + self.lengths.output}
        if self.workload == "interference":
            needed["long prompt and its output"] = self.long_prompt(max_model_len) + LONG_OUTPUT_TOKENS
        if self.workload == "prefix":
            needed["prefix, prompt and output"] = self.prefix(max_model_len) + sum(needed.values())
        for name, num_tokens in needed.items():
            if self.workload != "trace" and max_model_len is not None and num_tokens > max_model_len:
                raise BenchError(f"{name} are {num_tokens} tokens; the server takes {max_model_len} at most")

    def num_requests(self, load: float) -> int:
        """The number of requests of a stage; an open loop has enough of them for its duration."""
        if self.requests is not None:
            return self.requests
        match self.workload:
            case "single":
                return 5
            case "streams":
                return max(int(load), 4)
            case _:
                seconds = self.duration or (10.0 if self.workload == "ramp" else 30.0)
                return max(round(load * seconds), 4)
