"""Decode steps that are recorded and replayed: which are, how they are filled up, and that it changes no token.

The recorder of these tests runs again what it was given, which on the CPU is all that a recording does.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from app.engine.core import EngineCore
from app.messages import Generate, SamplingParams
from app.model import graphs
from app.model.device_batch import DeviceBatch
from app.model.graphs import DecodeInputs, GraphDecoder, Run, batch_sizes, record_decoding
from app.model.inputs import ForwardBatch
from app.model.runner import Decoder, ModelRunner
from app.model.sampling.draw import sample_tokens
from app.scheduler.batch import Sampled
from tests.builders import make_scheduler, run_to_end
from tests.models import greedy

VOCAB_SIZE = 50
BLOCK_SIZE = 4
NUM_BLOCKS = 60
MAX_ROWS = 6
CPU = torch.device("cpu")


class TellingModel:
    """Its next token follows from all tokens before, which it stores by slot and finds by block table.

    It uses nothing but what is on the device. A slot that was never written holds NaN, and so do the logits then.
    """

    name = "telling"
    weight_bytes = 0

    def __init__(self) -> None:
        self.slots = torch.full((NUM_BLOCKS * BLOCK_SIZE,), torch.nan)
        self.num_forwards = 0

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        self.num_forwards += 1
        return self.run(DeviceBatch.of(batch))

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return sample_tokens(logits, sequences)

    def run(self, batch: DeviceBatch) -> torch.Tensor:
        has_slot = batch.slot_mapping >= 0
        self.slots[batch.slot_mapping[has_slot]] = batch.input_ids[has_slot].float()
        logits = torch.zeros(len(batch.input_ids), VOCAB_SIZE)
        for row, (begin, end) in enumerate(zip(batch.cu_seqlens_q[:-1], batch.cu_seqlens_q[1:], strict=True)):
            for token in range(int(begin), int(end)):
                length = int(batch.seq_lens[row] - (end - 1 - token))
                positions = torch.arange(length)
                blocks = batch.block_tables[row * int(batch.table_width) :].long()[positions // BLOCK_SIZE]
                read = self.slots[blocks * BLOCK_SIZE + positions % BLOCK_SIZE]
                if read.isnan().any():
                    logits[token] = torch.nan
                elif length:
                    assert int(batch.positions[token]) == length - 1
                    logits[token, int((read * (positions + 7)).sum()) % VOCAB_SIZE] = 1
        return logits[batch.logits_indices]


@dataclass
class Repeater:
    """Notes how often what it recorded was run again, by the number of rows."""

    replayed: Counter[int] = field(default_factory=Counter)

    def __call__(self, run: Run) -> Run:
        size = len(run())

        def replay() -> torch.Tensor:
            self.replayed[size] += 1
            return run()

        return replay


def recorded(
    model: TellingModel, recorder: Callable[[Run], Run], clock: Callable[[], float] = lambda: 0.0
) -> GraphDecoder | None:
    inputs = DecodeInputs(MAX_ROWS, NUM_BLOCKS, CPU)
    return record_decoding(model, inputs, batch_sizes(MAX_ROWS), recorder, clock)


def core_of(decoder: Decoder, max_num_batched_tokens: int = 9, overlap: bool = False) -> EngineCore:
    scheduler = make_scheduler(NUM_BLOCKS, BLOCK_SIZE, MAX_ROWS, max_num_batched_tokens)
    return EngineCore(scheduler, ModelRunner(decoder, BLOCK_SIZE, CPU), overlap)


def outputs(
    decoder: Decoder, prompts: list[list[int]], lengths: list[int], overlap: bool = False
) -> dict[int, list[int]]:
    core = core_of(decoder, overlap=overlap)
    for seq_id, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        core.apply(Generate(seq_id, prompt, greedy(length)))
    return run_to_end(core)


def a_load(seed: int) -> tuple[list[list[int]], list[int]]:
    """Prompts and output lengths of a dozen sequences, so that the number of rows goes up and down."""
    choice = random.Random(seed)
    prompts = [choice.choices(range(VOCAB_SIZE), k=choice.randint(1, 12)) for _ in range(12)]
    return prompts, [choice.randint(1, 15) for _ in prompts]


# Sizes


@pytest.mark.parametrize("most", [1, 2, 3, 16, 17, 64, 100, 256, 1000])
def test_every_batch_fits_a_size_that_is_not_much_larger(most: int) -> None:
    sizes = batch_sizes(most)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    assert len(sizes) <= 20
    for num_rows in range(1, most + 1):
        size = next(size for size in sizes if size >= num_rows)
        assert size <= 16 or size - num_rows <= size / 3


# Replays


@pytest.mark.parametrize("overlap", [False, True], ids=["one by one", "overlapping"])
@pytest.mark.parametrize("seed", range(5))
def test_replayed_steps_give_the_tokens_that_the_model_gives(seed: int, overlap: bool) -> None:
    """Where steps overlap, the tokens that they go on from are on the device only."""
    recorder = Repeater()
    decoder = recorded(TellingModel(), recorder)
    assert decoder is not None
    assert outputs(decoder, *a_load(seed), overlap) == outputs(TellingModel(), *a_load(seed))
    assert {1, 4, 6} <= set(recorder.replayed) <= {1, 2, 4, 6}


def test_a_step_replays_the_smallest_size_that_it_fits() -> None:
    recorder = Repeater()
    decoder = recorded(TellingModel(), recorder)
    assert decoder is not None
    outputs(decoder, [[1, 5], [2, 5], [3, 5]], [2, 4, 4])
    assert recorder.replayed == {4: 1, 2: 2}, "the first tokens come with the prompts: one step of three, two of two"


def test_filling_up_touches_no_block() -> None:
    """Three rows are filled up to four, after a step of six has left its rows in the buffers."""
    model = TellingModel()
    decoder = recorded(model, Repeater())
    assert decoder is not None
    assert model.slots.isnan().all(), "recording stores nothing"
    core = core_of(decoder)
    for seq_id in range(6):
        core.apply(Generate(seq_id, [seq_id, 1, 2], greedy(3 if seq_id > 2 else 9)))
    while len(core.scheduler.running) != 3 or core.scheduler.running[0].num_tokens < 3 + 4:
        core.step()
    model.slots.fill_(torch.nan)
    written = {s.block_table[s.num_computed_tokens // BLOCK_SIZE] for s in core.scheduler.running}
    core.step()
    stored = model.slots.isnan().logical_not().nonzero()[:, 0]
    assert len(stored) == 3
    assert {int(slot) // BLOCK_SIZE for slot in stored} == written


def test_pieces_of_a_prompt_are_computed_by_the_model_itself() -> None:
    model, recorder = TellingModel(), Repeater()
    decoder = recorded(model, recorder)
    assert decoder is not None
    outputs(decoder, [list(range(20))], [3])
    assert model.num_forwards == 3, "9, 9 and 2 tokens"
    assert recorder.replayed == {1: 2}


def test_a_piece_of_a_single_token_that_nothing_is_sampled_after_is_not_replayed() -> None:
    """Five sequences decode, and leave one token of the budget to the prompt of the sixth."""
    model, recorder = TellingModel(), Repeater()
    decoder = recorded(model, recorder)
    assert decoder is not None
    core = core_of(decoder, max_num_batched_tokens=MAX_ROWS)
    for seq_id in range(5):
        core.apply(Generate(seq_id, [seq_id], greedy(8)))
    core.step()
    num_forwards = model.num_forwards
    core.apply(Generate(5, [1, 2, 3], SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)))
    steps = [core.step() for _ in range(3)]
    assert model.num_forwards == num_forwards + 2
    assert recorder.replayed == {6: 2}, "the first step, of five rows, and the last, in which all are sampled"
    assert [report.token_id for step in steps for report in step.prompt_logprobs.get(5, [])] == [2, 3]


# Recording


def test_sizes_for_which_there_is_no_time_are_filled_up_to_larger_ones() -> None:
    times = iter(range(0, 100, 4))
    recorder = Repeater()
    decoder = recorded(TellingModel(), recorder, lambda: float(next(times)))
    assert decoder is not None
    assert decoder.sizes == [1, 2, 6], "the largest first, and after 12 seconds no more"
    assert outputs(decoder, *a_load(0)) == outputs(TellingModel(), *a_load(0))
    assert recorder.replayed[6] > 0


def test_a_model_that_cannot_be_recorded_is_run_as_it_is_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: Run) -> Run:
        raise RuntimeError("operation not permitted when stream is capturing")

    with caplog.at_level(logging.WARNING, logger=graphs.logger.name):
        assert recorded(TellingModel(), refuse) is None
    assert "not permitted when stream is capturing" in caplog.text


def test_what_is_recorded_stays_where_it_is() -> None:
    """A recording reads the addresses that it was made with."""
    inputs = DecodeInputs(MAX_ROWS, NUM_BLOCKS, CPU)
    whole, part = inputs.first(MAX_ROWS), inputs.first(2)
    for name in ("seq_lens", "block_tables", "table_width", "cu_seqlens_q"):
        assert getattr(whole, name).data_ptr() == getattr(part, name).data_ptr()
