"""What may cross between the API process and the engine process: plain frozen data, standard library only."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf


class FinishReason(StrEnum):
    """Why a sequence ended. ABORT is the server's doing; from ENGINE_DIED on they are known to the API process only."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"
    QUEUE_TIMEOUT = "queue_timeout"
    ENGINE_DIED = "engine_died"
    KILLS_ENGINE = "kills_engine"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    REQUEST_TIMEOUT = "request_timeout"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one sequence is sampled. Validated at the door: the engine trusts every field.

    `max_tokens` counts output tokens. `top_k` 0 and `top_p` 1.0 mean off. `stop_token_ids` already contains the
    model's end tokens unless the request ignores them. `logprobs` and `prompt_logprobs` are the number of most
    likely alternatives to report beside the chosen token; None reports nothing.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    seed: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Generate:
    """Begin a sequence. Smaller `priority` goes first; sequences share cached blocks only under the same salt.

    `output_token_ids` is what an engine that died had made of it: it goes on from there. Sequences of different owners
    share the engine fairly; who an owner is, the engine does not know. `priority` orders the sequences of one owner,
    and `precedence` those of different owners; None is the same as `priority`. A sequence that is not scheduled by
    `deadline`, a moment of the monotonic clock, which both processes share, ends with QUEUE_TIMEOUT.
    """

    seq_id: int
    prompt_token_ids: Seq[int]
    params: SamplingParams
    priority: int = 0
    cache_salt: str = ""
    output_token_ids: Seq[int] = ()
    owner: str = ""
    deadline: float = inf
    precedence: int | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    seq_ids: tuple[int, ...]


Command = Generate | Abort


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural logarithms of the model's own probabilities, before penalties, bias, temperature and truncation.

    `top` holds (token id, logprob) of the most likely tokens, best first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class WaitReason(StrEnum):
    """What a waiting sequence lacked in a step: cache blocks, tokens of the step, a place among those that run."""

    BLOCKS = "blocks"
    BUDGET = "budget"
    MAX_NUM_SEQS = "max_num_seqs"


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one step did and what it left behind; counts are tokens, sequences or blocks, times are seconds.

    Of the blocks, `num_shared_blocks` have more than one reference; `num_cached_blocks` are free but can still be found
    by the prefix they hold. `num_recomputed` counts tokens computed before that sequences which come back from
    preemption must compute again, `num_lost` those that the sequences preempted in this step had computed.
    `waiting_for` divides `num_waiting`; a reason that holds for nobody is left out.
    `num_accepted_per_position[i]` is how many drafts had their first i + 1 tokens accepted. `input_seconds` and
    `forward_seconds` are the parts of `execute_seconds` that the model's inputs and the model itself take; on a device
    that works beside the host, what the model still owes is waited for while sampling.
    """

    num_running: int
    num_waiting: int
    num_free_blocks: int
    num_blocks: int
    num_prefill_tokens: int
    num_decode_tokens: int
    num_prefix_queried: int
    num_prefix_hits: int
    num_preempted: int
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_per_position: tuple[int, ...] = ()
    schedule_seconds: float = 0.0
    execute_seconds: float = 0.0
    update_seconds: float = 0.0
    forward_seconds: float = 0.0
    input_seconds: float = 0.0
    num_shared_blocks: int = 0
    num_cached_blocks: int = 0
    num_recomputed: int = 0
    num_lost: int = 0
    waiting_for: dict[WaitReason, int] = field(default_factory=dict)

    @property
    def sample_seconds(self) -> float:
        """The rest of `execute_seconds`: choosing tokens, and their way to the host."""
        return self.execute_seconds - self.input_seconds - self.forward_seconds


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step gave, in columns: row i says that sequence `seq_ids[i]` grew by `token_ids[i]`.

    A sequence may fill several rows. `logprobs` is keyed by row, everything else by sequence id. `admitted` tells
    how many prompt tokens of a sequence scheduled for the first time came from the prefix cache. `preempted` sequences
    gave their blocks back.
    """

    seq_ids: list[int]
    token_ids: list[int]
    finished: dict[int, FinishReason]
    stats: StepStats
    logprobs: dict[int, TokenLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    admitted: dict[int, int] = field(default_factory=dict)
    preempted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SequencesBegan:
    """The engine is about to compute something of these for the first time."""

    seq_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineLoading:
    """Progress of a start: what is being done, and how much of the whole start is behind us (0 to 1)."""

    phase: str
    fraction: float


@dataclass(frozen=True, slots=True)
class EngineReady:
    """What the API must know of the loaded model and its cache. `phases` gives seconds of start-up by name."""

    max_model_len: int
    vocab_size: int
    block_size: int
    num_blocks: int
    device: str
    dtype: str
    backend: str
    quantization: str
    num_threads: int
    num_parameters: int
    model_bytes: int
    kv_cache_bytes: int
    phases: dict[str, float]

    @property
    def num_cache_tokens(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def max_total_tokens(self) -> int:
        """Of a prompt and its output together: what fits the model's length, and the whole cache."""
        return min(self.max_model_len, self.num_cache_tokens)


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The start came to an end with an error, in words for the operator. The process ends by itself."""

    reason: str


Event = EngineLoading | EngineReady | EngineFailed | SequencesBegan | StepOutput
