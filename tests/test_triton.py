"""The Triton kernels against attention by its definition in float64; on the CPU they run under Triton's interpreter."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are declared
pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from app.engine.core import EngineCore  # noqa: E402
from app.messages import Generate, SamplingParams  # noqa: E402
from app.model.device_batch import DeviceBatch  # noqa: E402
from app.model.first_steps import compile_kernels  # noqa: E402
from app.model.graphs import DecodeInputs, OnDevice, record_decoding  # noqa: E402
from app.model.memory import StepLimits  # noqa: E402
from app.model.runner import ModelRunner  # noqa: E402
from app.model.triton.attention import NewTokens, Options, attend, attend_whole, write  # noqa: E402
from app.model.triton.products import add_product, gated_of_norm, of_norm  # noqa: E402
from app.model.triton.tiling import Heads, tiling_of  # noqa: E402
from app.scheduler.block_pool import BlockPool  # noqa: E402
from app.scheduler.scheduler import Scheduler  # noqa: E402
from tests.attention_world import World  # noqa: E402
from tests.builders import run_to_end  # noqa: E402
from tests.models import generate_alone, greedy, make_runner  # noqa: E402

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
    given, expected = world.attended(DEVICE)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_splits", [1, 2, 8, 64])
def test_the_number_of_splits_does_not_matter(num_splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("decode_splits", "prefill_splits"):
        monkeypatch.setattr(f"app.model.triton.attention.{name}", lambda *_: num_splits)
    for world in (World(MIXED), World(MIXED, window=40, has_sinks=True)):
        given, expected = world.attended(DEVICE)
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


LONG_ONES = ((1, 40), (33, 33), (7, 60), (6, 6), (4, 4))


@pytest.mark.parametrize("num_splits", [1, 4])
def test_long_whole_prompts_are_attended_to_as_others_are(num_splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside rows whose keys are divided, too."""
    monkeypatch.setattr("app.model.device_batch.LONG", 5)
    monkeypatch.setattr("app.model.triton.attention.prefill_splits", lambda *_: num_splits)
    for rows, window in ((MIXED, None), (LONG_ONES, None), (MIXED, 20)):
        given, expected = World(rows, window=window, dtype=torch.float16).attended(DEVICE)
        torch.testing.assert_close(given, expected, rtol=1e-2, atol=1e-2)


def test_whole_prompts_of_many_lengths_are_of_few_to_the_library_and_a_neighbour_is_not_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attend_by_torch, lengths = torch.nn.functional.scaled_dot_product_attention, set()

    def noting(query: torch.Tensor, *rest: torch.Tensor, **options: Any) -> torch.Tensor:
        lengths.add(query.shape[2])
        return attend_by_torch(query, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    tokens = torch.randn(300, 2, 16, generator=torch.Generator().manual_seed(0)).to(DEVICE, torch.float16)
    for length in (1, 7, 255, 256, 257, 299):
        neighboured = tokens.clone()
        neighboured[length:] = float("nan")
        whole, *new = (part[:length] for part in (neighboured, neighboured[:, :1], neighboured[:, :1]))
        given = attend_whole(whole, *new, 0.3)
        expected = attend_by_torch(
            *(part.transpose(0, 1)[None] for part in (whole, *new)), is_causal=True, scale=0.3, enable_gqa=True
        )
        torch.testing.assert_close(given, expected[0].transpose(0, 1), rtol=1e-2, atol=1e-2)
    assert lengths == {256, 512}


@pytest.mark.parametrize("world", [World(LONG_ONES), World(LONG_ONES, value_size=16, dtype=torch.float16)], ids=repr)
def test_what_torch_would_make_all_scores_of_at_once_is_left_to_the_kernels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.model.device_batch.LONG", 5)
    monkeypatch.setattr("app.model.triton.attention.attend_whole", None)
    given, expected = world.attended(DEVICE)
    torch.testing.assert_close(given, expected, rtol=1e-2, atol=1e-2)


# The interpreter computes in numpy, which has no bfloat16.
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16] if DEVICE.type == "cuda" else [torch.float16])
def test_half_precision_is_within_its_rounding(dtype: torch.dtype) -> None:
    given, expected = World(MIXED, dtype=dtype, key_size=64, value_size=64).attended(DEVICE)
    assert ((given - expected).norm() / expected.norm()).item() < 2e-2


@pytest.mark.parametrize("num_rows", [1, 2, 16, 17])
@pytest.mark.parametrize(("size", "num_outputs"), [(48, 20), (1100, 7)])
def test_products_are_what_they_are_by_definition(num_rows: int, size: int, num_outputs: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(DEVICE)

    rows, norm, weight, bias = normal(num_rows, size), normal(size), normal(2 * num_outputs, size), normal(num_outputs)
    exact = rows.double()
    normed = (exact * (exact.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * norm.double()) @ weight.double().T
    gates, ups = normed.split(num_outputs, dim=1)
    sums = normal(num_rows, num_outputs)
    expected = [
        normed[:, :num_outputs] + bias.double(),
        torch.nn.functional.silu(gates) * ups,
        sums.double() + bias.double() + exact @ weight[:num_outputs].double().T,
    ]
    add_product(sums, rows, weight[:num_outputs], bias)
    given = [of_norm(rows, norm, 1e-5, weight[:num_outputs], bias), gated_of_norm(rows, norm, 1e-5, weight), sums]
    for one, other in zip(given, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_in_the_smallest_tiles_attention_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Heads(2, 32, 32, 4)
    room = 13 * 1024
    tiling = tiling_of("prefill", heads, room)
    assert tiling.tile_m == tiling.tile_n == 16
    monkeypatch.setattr("app.model.triton.attention.shared_memory_of", lambda _: room)
    given, expected = World(MIXED, window=20).attended(DEVICE)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


def test_places_behind_two_to_the_31_are_found() -> None:
    """In the cache, and in queries and new keys whose heads lie far apart. Memory that is not touched costs nothing."""
    small, first, far = (16, 3, 32), (1 << 31) // (16 * 3 * 32), 1 << 30
    many = torch.empty(first + 3, *small, dtype=torch.float16, device=DEVICE)
    new = torch.randn(20, 3, 32, generator=torch.Generator().manual_seed(0)).half().to(DEVICE)
    apart = torch.empty(2 * far + 640, dtype=torch.float16, device=DEVICE).as_strided((20, 3, 32), (32, far, 1))
    apart.copy_(new)
    query, given = apart[3:4], []
    for cache, block, asked, stored in ((many, first + 1, query, apart), (many[:2], 0, query.contiguous(), new)):
        slots = torch.arange(16 * block, 16 * block + 20, device=DEVICE)
        write(NewTokens(stored, stored), cache, cache, slots)
        ints = {"dtype": torch.int32, "device": DEVICE}
        batch = DeviceBatch(
            input_ids=slots,
            positions=slots,
            slot_mapping=slots,
            logits_indices=slots,
            cu_seqlens_q=torch.tensor([0, 1], **ints),
            seq_lens=torch.tensor([20], **ints),
            table_width=torch.tensor([2], **ints),
            block_tables=torch.tensor([block, block + 1], **ints),
            num_decode_rows=1,
            lengths_q=(1,),
        )
        given.append(attend(asked, NewTokens(stored[-1:], stored[-1:]), cache, cache, batch, Options(1.0)))
    assert torch.equal(*given)
    assert given[0].abs().sum() > 0


def test_a_token_without_a_slot_is_not_written_and_a_row_without_tokens_attends_to_nothing() -> None:
    keys, values = torch.zeros(2, 16, 2, 32, device=DEVICE), torch.zeros(2, 16, 2, 32, device=DEVICE)
    new = torch.ones(3, 2, 32, device=DEVICE)
    write(NewTokens(new, new), keys, values, torch.tensor([-1, 5, -1], device=DEVICE))
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
        table_width=torch.ones(1, dtype=torch.int32, device=DEVICE),
        block_tables=torch.zeros(1, dtype=torch.int32, device=DEVICE),
        num_decode_rows=1,
        lengths_q=(1,),
    )
    query = torch.ones(1, 4, 32, device=DEVICE)
    assert attend(query, NewTokens(new[:1], new[:1]), keys, values, batch, Options(1.0)).abs().sum() == 0


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the model of this test is on the CPU")
@pytest.mark.parametrize(
    ("architecture", "backend", "records"),
    [
        ("Qwen3", "triton", True),
        ("Gemma-2", "triton", True),
        ("gpt-oss", "triton", False),
        ("Llama", "fused", False),
        ("Mistral", "fused", True),
        ("Qwen2", "fused", True),
        ("Qwen3", "fused", True),
    ],
)
def test_batched_and_chunked_tokens_are_those_of_transformers(architecture: str, backend: str, records: bool) -> None:
    """With `records`, three rows are filled up to four."""
    prompts = [(5, 6, 7), (9, 8, 7, 6, 5, 4), tuple(range(1, 40))]
    runner = make_runner(architecture, num_blocks=40, block_size=16, backend=backend)
    if records:
        decoder = record_decoding(runner.decoder, DecodeInputs(4, 16, DEVICE), [1, 2, 4], lambda run: run)
        assert decoder is not None
        runner.decoder = decoder
    assert outputs_of(runner, dict(enumerate(prompts)), greedy(4)) == {
        index: list(generate_alone(architecture, prompt, 4)) for index, prompt in enumerate(prompts)
    }


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the model of this test is on the CPU")
def test_what_is_drawn_of_large_nuclei_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.model.sampling.draw.NUM_CANDIDATES", 4)
    runner = make_runner("Qwen3", num_blocks=40, block_size=16, backend="fused")
    prompts = {1: (5, 6, 7), 2: (9, 8, 7, 6, 5, 4), 3: tuple(range(1, 40))}
    params = SamplingParams(max_tokens=4, temperature=2.0, top_p=0.95, seed=3)
    together = outputs_of(runner, prompts, params)
    assert together == {index: outputs_of(runner, {index: prompts[index]}, params)[index] for index in prompts}
    assert len({token_id for tokens in together.values() for token_id in tokens}) > 4


def outputs_of(
    runner: ModelRunner, prompts: dict[int, tuple[int, ...]], params: SamplingParams
) -> dict[int, list[int]]:
    core = EngineCore(Scheduler(BlockPool(40), 16, max_num_seqs=4, max_num_batched_tokens=30), runner)
    for index, prompt in prompts.items():
        core.apply(Generate(index, prompt, params))
    return run_to_end(core)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the model of this test is on the CPU")
@pytest.mark.parametrize("backend", ["fused", "triton"])
def test_a_start_takes_steps_of_every_kind_in_a_cache_of_one_block(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.model.device_batch.LONG", 16)
    runner = make_runner("Qwen3", num_blocks=1, block_size=16, backend=backend)
    taken: list[float] = []
    assert isinstance(runner.decoder, OnDevice)
    compile_kernels(runner.decoder, 16, StepLimits(3, 40, 64), DEVICE, taken.append)
    assert taken[-1] == 1
