"""Engines on a tiny model that speaks bytes, and constrained sequences for them."""

from __future__ import annotations

from functools import cache
from queue import SimpleQueue

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models
from transformers import PreTrainedTokenizerFast

from app.constraints.check import check
from app.constraints.tokens import TokenTable
from app.engine.constraints import Constraints, Prepared
from app.engine.core import EngineCore
from app.engine.masking import MaskingRunner
from app.messages import Constraint, ConstraintKind, FinishReason, Generate
from app.model.runner import ModelRunner
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.builders import check_blocks
from tests.models import VOCAB_SIZE, make_runner

END = 0
"""The model's end token, which writes nothing."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token for each character of ASCII, by its code."""
    backend = Backend(models.BPE({f"<0x{code:02X}>": code for code in range(VOCAB_SIZE)}, [], byte_fallback=True))
    backend.decoder = decoders.ByteFallback()
    backend.add_special_tokens(["<0x00>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@cache
def byte_table() -> TokenTable:
    return TokenTable(byte_tokenizer().backend_tokenizer, VOCAB_SIZE)


def regex(pattern: str) -> Constraint:
    return check(Constraint(ConstraintKind.REGEX, pattern))


def text_of(token_ids: list[int]) -> str:
    return bytes(token_id for token_id in token_ids if token_id != END).decode()


class World:
    """An engine, what it has given, and how it ended each sequence."""

    def __init__(
        self,
        num_tokens: int = 1600,
        budget: int = 512,
        step_cost: int = 0,
        overlap: bool = False,
        native: bool = False,
        constraints: Constraints | None = None,
    ) -> None:
        block_size = 16 if native else 8
        num_blocks = num_tokens // block_size
        runner: ModelRunner = make_runner("Llama", num_blocks, block_size, native)
        constraints = constraints or Constraints(byte_table)
        self.scheduler = Scheduler(BlockPool(num_blocks), block_size, min(budget, 16), budget, step_cost)
        self.core = EngineCore(self.scheduler, MaskingRunner(runner, constraints), overlap, constraints)
        self.prepared: SimpleQueue[Prepared] = SimpleQueue()
        constraints.on_prepared = self.prepared.put
        self.tokens: dict[int, list[int]] = {}
        self.finished: dict[int, FinishReason] = {}
        self.num_preempted = self.num_steps = self.num_accepted = 0

    def submit(self, *commands: Generate) -> None:
        """Begin sequences, once their grammars are compiled."""
        for command in commands:
            self.core.apply(command)
            if command.constraint is not None:
                self.core.apply(self.prepared.get())

    def step(self) -> None:
        step = self.core.step()
        check_blocks(self.scheduler)
        self.num_steps += 1
        self.num_preempted += step.stats.num_preempted
        self.num_accepted += sum(step.stats.num_accepted_per_position)
        self.finished |= step.finished
        for seq_id, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            self.tokens.setdefault(seq_id, []).append(token_id)

    def run(self, *commands: Generate) -> dict[int, list[int]]:
        """All to their ends; what each got."""
        self.submit(*commands)
        while self.core.has_work:
            self.step()
        assert self.scheduler.pool.num_free == self.scheduler.pool.num_blocks
        return self.tokens
