"""The settings of a benchmark of the engine, and which of its loads fit the engine."""

from __future__ import annotations

from dataclasses import dataclass

from app.bench.outcome import BenchError
from app.messages import EngineReady

PREFILL_TOKENS = 1024
OUTPUT_TOKENS = 128
SWEEP_STEPS = 32
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (128, 256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True, slots=True)
class Load:
    """`num_streams` sequences with prompts of `prompt_tokens`, and how many steps with all of them are measured."""

    num_streams: int
    prompt_tokens: int
    num_steps: int

    def longest(self, max_num_batched_tokens: int) -> int:
        """The longest length of the first sequence, which decodes while the prompts of the others are computed."""
        left = max_num_batched_tokens - self.num_streams + 1
        waiting = -(-(self.num_streams - 1) * self.prompt_tokens // left)
        return self.prompt_tokens + 1 + waiting + self.num_steps


@dataclass(frozen=True, slots=True)
class EngineBenchSettings:
    """Lengths in tokens. `prefill` None is 1,024 or what fits, `output_tokens` None is each part's own default."""

    seed: int
    streams: tuple[int, ...] = (1, 4, 16)
    prompt_tokens: int = 128
    output_tokens: int | None = None
    prefill: int | None = None
    sweep: bool = False
    temperature: float = 0.0

    @property
    def decodes(self) -> list[Load]:
        """The loads to decode. The first token of an output comes with its prompt; the others take a step each."""
        num_steps = (self.output_tokens or OUTPUT_TOKENS) - 1
        return [Load(num_streams, self.prompt_tokens, num_steps) for num_streams in self.streams]

    def check(self) -> None:
        """Raise BenchError for invalid settings."""
        if self.output_tokens is not None and self.output_tokens < 2:
            raise BenchError("--output-tokens: a decode step needs at least 2")


@dataclass(frozen=True, slots=True)
class Room:
    """Decides which loads fit the engine that was started."""

    ready: EngineReady
    max_num_seqs: int
    max_num_batched_tokens: int

    def check(self, settings: EngineBenchSettings) -> None:
        """Raise BenchError for a setting that does not fit, naming the option that would change that."""
        for load in settings.decodes:
            if reason := self.refusal(load):
                raise BenchError(f"{load.num_streams} streams of {load.prompt_tokens} prompt tokens: {reason}")
        if settings.prefill is not None and settings.prefill + 1 > self.ready.max_model_len:
            raise BenchError(f"--prefill {settings.prefill} and a token: {self._too_long(settings.prefill + 1)}")

    def refusal(self, load: Load) -> str | None:
        """Why a load cannot be measured, or None if it can."""
        if load.num_streams > self.max_num_seqs:
            return f"--max-num-seqs is {self.max_num_seqs}"
        longest = load.longest(self.max_num_batched_tokens)
        if longest > self.ready.max_model_len:
            return self._too_long(longest)
        blocks = load.num_streams * (-(-longest // self.ready.block_size) + 1)
        if blocks > self.ready.num_blocks:
            return (
                f"they need {blocks * self.ready.block_size:,} tokens of cache, there are "
                f"{self.ready.num_cache_tokens:,}; --kv-cache-memory gives more"
            )
        return None

    def prefill(self, settings: EngineBenchSettings) -> int:
        """The number of tokens of the prompt whose prefill is measured."""
        return settings.prefill or min(PREFILL_TOKENS, self.ready.max_model_len - 1)

    def sweep(self, settings: EngineBenchSettings) -> tuple[list[Load], list[Load], list[str]]:
        """Loads by batch size and by context of a single stream, as far as they fit, and a note for each that does not.

        A context is the final length of the sequence: its prompt is shorter by the tokens that are measured.
        """
        num_steps = (settings.output_tokens or SWEEP_STEPS + 1) - 1
        batches = [Load(count, settings.prompt_tokens, num_steps) for count in BATCHES]
        contexts = [Load(1, context - num_steps - 1, num_steps) for context in CONTEXTS if context > num_steps + 1]
        left_out = [
            f"{load.num_streams} x {load.prompt_tokens} prompt tokens are left out: {reason}"
            for load in (*batches, *contexts)
            if (reason := self.refusal(load))
        ]
        fitting = [[load for load in loads if not self.refusal(load)] for loads in (batches, contexts)]
        return fitting[0], fitting[1], left_out

    def _too_long(self, num_tokens: int) -> str:
        return f"a sequence comes to {num_tokens:,} tokens, {self.ready.max_model_len:,} are the most here"
