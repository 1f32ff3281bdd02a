"""The Triton kernels against attention by its definition in float64; on the CPU they run under Triton's interpreter."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are declared
pytest.importorskip("triton", reason="Triton is not installed: pip install millrace[triton]")

from app.engine.core import EngineCore  # noqa: E402
from app.messages import Generate  # noqa: E402
from app.model.graphs import DecodeInputs, record_decoding  # noqa: E402
from app.model.inputs import ForwardBatch  # noqa: E402
from app.model.triton.attention import Options, attend, write  # noqa: E402
from app.model.triton.batch import DeviceBatch  # noqa: E402
from app.scheduler.block_pool import BlockPool  # noqa: E402
from app.scheduler.scheduler import Scheduler  # noqa: E402
from tests.models import generate_alone, greedy, make_runner  # noqa: E402

NAN = float("nan")


@dataclass(frozen=True)
class World:
    """Rows of (tokens computed now, tokens in all) over shuffled blocks; whatever is not theirs is NaN."""

    rows: tuple[tuple[int, int], ...]
    num_heads: int = 4
    num_kv_heads: int = 2
    key_size: int = 32
    value_size: int = 32
    block_size: int = 16
    dtype: torch.dtype = torch.float32
    window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False
    scale: float = 0.2
    seed: int = 0
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def attended(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the kernels give, and what float64 says: `[num_tokens, num_heads, value_size]`."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)

        widths = [-(-length // self.block_size) for _, length in self.rows]
        num_blocks = sum(widths) + 3
        shuffled = torch.randperm(num_blocks, generator=generator).tolist()
        tables = np.zeros((len(self.rows), max(widths)), dtype=np.int64)
        keys = torch.full((num_blocks, self.block_size, self.num_kv_heads, self.key_size), NAN, dtype=self.dtype)
        values = torch.full((num_blocks, self.block_size, self.num_kv_heads, self.value_size), NAN, dtype=self.dtype)
        query = normal(self.num_heads, sum(count for count, _ in self.rows), self.key_size).transpose(0, 1)
        sinks = normal(self.num_heads) if self.has_sinks else None
        begin, slots, new, expected = 0, [], [], []
        for index, (count, length) in enumerate(self.rows):
            tables[index, : widths[index]] = [shuffled.pop() for _ in range(widths[index])]
            positions = torch.arange(length)
            row_slots = torch.from_numpy(tables[index])[positions // self.block_size] * self.block_size
            row_slots += positions % self.block_size
            row_keys = normal(length, self.num_kv_heads, self.key_size)
            row_values = normal(length, self.num_kv_heads, self.value_size)
            old = length - count
            keys.flatten(0, 1)[row_slots[:old]] = row_keys[:old]
            values.flatten(0, 1)[row_slots[:old]] = row_values[:old]
            slots.append(row_slots[old:])
            new.append((row_keys[old:], row_values[old:]))
            expected.append(self._exactly(query[begin : begin + count], row_keys, row_values, sinks))
            begin += count
        keys, values = keys.to(DEVICE), values.to(DEVICE)
        slot_mapping = torch.cat(slots).to(DEVICE)
        new_keys, new_values = (torch.cat(parts).to(DEVICE) for parts in zip(*new, strict=True))
        write(new_keys, new_values, keys, values, slot_mapping)
        batch = DeviceBatch.of(
            ForwardBatch(
                input_ids=slot_mapping,
                positions=slot_mapping,
                slot_mapping=slot_mapping,
                logits_indices=slot_mapping,
                num_decode_rows=sum(count == 1 for count, _ in self.rows),
                cu_seqlens_q=[0, *np.cumsum([count for count, _ in self.rows]).tolist()],
                seq_lens=[length for _, length in self.rows],
                block_tables=tables,
                is_decode=False,
            )
        )
        options = Options(self.scale, self.softcap, self.window, None if sinks is None else sinks.to(DEVICE))
        output = attend(query.to(DEVICE), keys, values, batch, options)
        return output.cpu().double(), torch.cat(expected)

    def _exactly(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, sinks: torch.Tensor | None
    ) -> torch.Tensor:
        group = self.num_heads // self.num_kv_heads
        keys, values = (part.double().repeat_interleave(group, 1).transpose(0, 1) for part in (keys, values))
        scores = query.double().transpose(0, 1) @ keys.transpose(1, 2) * self.scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        num_queries, length = scores.shape[1:]
        position = torch.arange(length - num_queries, length)[:, None]
        seen = torch.arange(length)[None, :] <= position
        if self.window is not None:
            seen &= torch.arange(length)[None, :] > position - self.window
        scores = scores.masked_fill(~seen, -torch.inf)
        if sinks is not None:
            scores = torch.cat((scores, sinks.double()[:, None, None].expand(-1, num_queries, 1)), 2)
        return (scores.softmax(-1)[..., :length] @ values).transpose(0, 1)


DECODING = ((1, 1), (1, 17), (1, 129), (1, 200))
PREFILLING = ((5, 5), (20, 20), (17, 150), (2, 33))
MIXED = (*DECODING[1:3], *PREFILLING)


@pytest.mark.parametrize(
    "world",
    [
        World(DECODING),
        World(PREFILLING),
        World(MIXED),
        World(MIXED, block_size=48),
        World(MIXED, num_heads=6, num_kv_heads=2),
        World(MIXED, num_heads=7, num_kv_heads=1),
        World(MIXED, num_heads=2, num_kv_heads=2),
        World(DECODING, num_heads=20, num_kv_heads=1),
        World(MIXED, key_size=80, value_size=80),
        World(MIXED, key_size=48, value_size=32),
        World(MIXED, key_size=8, value_size=8),
        World(DECODING, key_size=256, value_size=256),
        World(MIXED, window=20),
        World(MIXED, window=1),
        World(MIXED, softcap=5.0, scale=3.0),
        World(MIXED, has_sinks=True),
        World(MIXED, has_sinks=True, window=33, softcap=2.0, num_heads=6, num_kv_heads=2),
    ],
    ids=repr,
)
def test_what_is_attended_is_what_float64_says(world: World) -> None:
    given, expected = world.attended()
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_splits", [1, 2, 8, 64])
def test_the_number_of_splits_does_not_matter(num_splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.model.triton.attention.decode_splits", lambda *_: num_splits)
    for world in (World(MIXED), World(MIXED, window=40, has_sinks=True)):
        given, expected = world.attended()
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


# The interpreter computes in numpy, which has no bfloat16.
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16] if DEVICE.type == "cuda" else [torch.float16])
def test_half_precision_is_within_its_rounding(dtype: torch.dtype) -> None:
    given, expected = World(MIXED, dtype=dtype, key_size=64, value_size=64).attended()
    assert ((given - expected).norm() / expected.norm()).item() < 2e-2


def test_a_token_without_a_slot_is_not_written_and_a_row_without_tokens_attends_to_nothing() -> None:
    keys, values = torch.zeros(2, 16, 2, 32, device=DEVICE), torch.zeros(2, 16, 2, 32, device=DEVICE)
    new = torch.ones(3, 2, 32, device=DEVICE)
    write(new, new, keys, values, torch.tensor([-1, 5, -1], device=DEVICE))
    assert keys.sum() == values.sum() == 64
    assert keys[0, 5].sum() == 64
    token = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    batch = DeviceBatch(
        input_ids=token,
        positions=token,
        slot_mapping=token - 1,
        logits_indices=token,
        cu_seqlens_q=torch.tensor([0, 1], dtype=torch.int32, device=DEVICE),
        seq_lens=torch.zeros(1, dtype=torch.int32, device=DEVICE),
        block_tables=torch.zeros(1, 1, dtype=torch.int32, device=DEVICE),
        num_decode_rows=1,
        lengths_q=(1,),
    )
    query = torch.ones(1, 4, 32, device=DEVICE)
    assert attend(query, keys, values, batch, Options(1.0)).abs().sum() == 0


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the model of this test is on the CPU")
@pytest.mark.parametrize(
    ("architecture", "records"),
    [("Qwen3", False), ("Qwen3", True), ("Mistral", True), ("Gemma-2", True), ("gpt-oss", False)],
)
def test_batched_and_chunked_tokens_are_those_of_transformers(architecture: str, records: bool) -> None:
    """With `records`, three rows are filled up to four."""
    prompts = [(5, 6, 7), (9, 8, 7, 6, 5, 4), tuple(range(1, 40))]
    runner = make_runner(architecture, num_blocks=40, block_size=16, backend="triton")
    if records:
        decoder = record_decoding(runner.decoder, DecodeInputs(4, 16, DEVICE), [1, 2, 4], lambda run: run)
        assert decoder is not None
        runner = replace(runner, decoder=decoder)
    core = EngineCore(Scheduler(BlockPool(40), 16, max_num_seqs=4, max_num_batched_tokens=30), runner)
    for index, prompt in enumerate(prompts):
        core.apply(Generate(index, prompt, greedy(4)))
    outputs: list[list[int]] = [[] for _ in prompts]
    while core.scheduler.has_work:
        step = core.step()
        for index, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            outputs[index].append(token_id)
    assert outputs == [generate_alone(architecture, prompt, 4) for prompt in prompts]
