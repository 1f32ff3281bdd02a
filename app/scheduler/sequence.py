"""One generation: its tokens, how many of them have been computed, and the blocks that hold their keys and values."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from enum import Enum, auto
from math import inf

from app.messages import FinishReason, SamplingParams
from app.scheduler.ngram import Drafter


class SequenceStatus(Enum):
    WAITING = auto()
    RUNNING = auto()
    FINISHED = auto()


class Sequence:
    """The state of one generation in the scheduler.

    `num_computed_tokens` chases `num_tokens`; the difference is what later steps owe this sequence. Both already count
    what scheduled steps will have done. `token_ids` holds the tokens that the host knows, the prompt and then the
    output; the ids of `num_unknown_tokens` more are still being sampled. `num_lost_tokens` is how many had been
    computed when the sequence was last preempted.

    `owner` identifies on whose behalf it runs; owners share the engine fairly. `deadline` (seconds, monotonic clock) is
    when it must have been scheduled for the first time. `order` ranks the sequences of all owners: the smaller
    `precedence` goes first, then the earlier arrival. `own_order` ranks those of one owner, by `priority` instead; a
    sequence with a smaller priority never has a larger precedence. The last one in an order is preempted first.

    `token_ids` and `block_table` are int32 arrays, which the model side reads through the buffer protocol without a
    copy. Weak references allow the model side to keep state per sequence for as long as the sequence lives.
    """

    __slots__ = (
        "__weakref__",
        "block_hashes",
        "block_table",
        "cache_salt",
        "deadline",
        "drafter",
        "finish_reason",
        "max_num_tokens",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_lost_tokens",
        "num_prompt_logprobs",
        "num_prompt_tokens",
        "num_tokens",
        "order",
        "owner",
        "params",
        "precedence",
        "priority",
        "seq_id",
        "status",
        "times_passed",
        "token_ids",
    )

    def __init__(
        self,
        seq_id: int,
        prompt_token_ids: Iterable[int],
        params: SamplingParams,
        priority: int = 0,
        cache_salt: str = "",
        output_token_ids: Iterable[int] = (),
        owner: str = "",
        deadline: float = inf,
        precedence: int | None = None,
    ) -> None:
        self.seq_id = seq_id
        self.token_ids = array("i", prompt_token_ids)
        self.num_prompt_tokens = len(self.token_ids)
        self.token_ids.extend(output_token_ids)
        self.num_tokens = len(self.token_ids)
        self.max_num_tokens = self.num_prompt_tokens + params.max_tokens
        self.params = params
        self.priority = priority
        self.precedence = priority if precedence is None else precedence
        self.order = (self.precedence, 0)
        self.cache_salt = cache_salt
        self.owner = owner
        self.deadline = deadline
        self.status = SequenceStatus.WAITING
        self.finish_reason: FinishReason | None = None
        self.num_computed_tokens = 0
        self.num_lost_tokens = 0
        self.num_cached_tokens: int | None = None
        self.num_prompt_logprobs = 0
        self.block_table = array("i")
        self.block_hashes: list[bytes] = []
        self.times_passed = 0
        self.drafter = Drafter(self.max_num_tokens)

    def __repr__(self) -> str:
        return f"<Sequence {self.seq_id} {self.status.name} {self.num_computed_tokens}/{self.num_tokens}>"

    @property
    def num_owed_tokens(self) -> int:
        return self.num_tokens - self.num_computed_tokens

    @property
    def num_unknown_tokens(self) -> int:
        return self.num_tokens - len(self.token_ids)

    @property
    def arrival(self) -> int:
        return self.order[1]

    @arrival.setter
    def arrival(self, number: int) -> None:
        self.order = (self.precedence, number)

    @property
    def own_order(self) -> tuple[int, int]:
        """Rank among the sequences of the same owner; smaller goes first."""
        return self.priority, self.arrival

    def hash_full_blocks(self, block_size: int) -> list[bytes]:
        """The hash of every full block of known tokens. It also covers all tokens before the block, and the salt."""
        hashes = self.block_hashes
        while (end := (len(hashes) + 1) * block_size) <= len(self.token_ids):
            parent = hashes[-1] if hashes else self.cache_salt.encode()
            hasher = hashlib.blake2b(parent, digest_size=16, person=b"" if hashes else b"salt")
            hasher.update(self.token_ids[end - block_size : end].tobytes())
            hashes.append(hasher.digest())
        return hashes

    def append(self, token_id: int) -> None:
        """Add a sampled token, and set the finish reason if it is a stop token or the last one allowed."""
        self.token_ids.append(token_id)
        if token_id in self.params.stop_token_ids:
            self.finish_reason = FinishReason.STOP
        elif len(self.token_ids) >= self.max_num_tokens:
            self.finish_reason = FinishReason.LENGTH
