"""The compiled kernels: where they apply, and what they compute in each precision."""

from __future__ import annotations

import copy
import platform
from typing import Any, cast

import pytest
import torch
import transformers as tf

from app.engine.core import EngineCore
from app.messages import Generate
from app.model import attention
from app.model.executor import ModelSetup
from app.model.inputs import build_forward_batch
from app.model.kv_cache import KVCache, LayerShape
from app.model.loading.configuration import ModelFacts
from app.model.loading.tracing import trace_layers
from app.model.modules.decoder import ModuleDecoder
from app.model.native import compiler, library
from app.model.native.decoder import NativeDecoder
from app.model.native.executor import NativeExecutor
from app.model.runner import ModelRunner
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence
from tests.models import ARCHITECTURES, VOCAB_SIZE, greedy, make_runner, reference_model
from tests.test_equalities import make_prompts, run

CPU = torch.device("cpu")
LAYERS = [LayerShape(num_kv_heads=2, key_size=16, value_size=16)] * 3


def llama(**changes: object) -> tf.LlamaConfig:
    config = ARCHITECTURES["Llama"]()
    assert isinstance(config, tf.LlamaConfig)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def unsupported_reason(config: tf.PretrainedConfig, layers: list[LayerShape], block_size: int) -> str | None:
    setup = ModelSetup(ModelFacts(config, layers, 128), CPU, torch.float32, block_size)
    return NativeExecutor().unsupported_reason(setup)


def test_the_kernels_run_a_llama() -> None:
    assert unsupported_reason(llama(), LAYERS, 16) is None


@pytest.mark.parametrize(
    ("config", "layers", "block_size", "reason"),
    [
        (llama(), LAYERS, 8, "the block size is 8, and the kernels need a multiple of 16 (--block-size 16)"),
        (llama(), [LayerShape(2, 8, 8)], 16, "its head size is 8, and the kernels need a multiple of 16"),
        (llama(), [LayerShape(2, 16, 32)], 16, "its keys have size 16 and its values 32"),
        (llama(hidden_size=72), LAYERS, 16, "its hidden size is 72, and the kernels need a multiple of 32"),
        (llama(hidden_act="gelu"), LAYERS, 16, "its activation is gelu, and the kernels compute silu"),
        (llama(mlp_bias=True), LAYERS, 16, "its MLP has biases"),
        (
            ARCHITECTURES["Gemma-2"](),
            LAYERS,
            16,
            "its type is gemma2, and the kernels compute llama, mistral, qwen2, qwen3",
        ),
    ],
    ids=["block", "head", "uneven heads", "hidden", "activation", "bias", "architecture"],
)
def test_they_say_why_they_do_not_run_what_they_would_compute_otherwise(
    config: tf.PretrainedConfig, layers: list[LayerShape], block_size: int, reason: str
) -> None:
    assert unsupported_reason(config, layers, block_size) == reason


Precision = tuple[torch.dtype, str]
PRECISIONS: list[Precision] = [
    (torch.bfloat16, "none"),
    (torch.bfloat16, "int8"),
    (torch.float32, "int8"),
    (torch.bfloat16, "int4"),
    (torch.float32, "int4"),
]
in_every_precision = pytest.mark.parametrize(
    ("dtype", "quantization"), PRECISIONS, ids=[f"{dtype}-{q}".removeprefix("torch.") for dtype, q in PRECISIONS]
)


def make_core(dtype: torch.dtype, quantization: str, num_tokens: int = 1600, budget: int = 512) -> EngineCore:
    num_blocks = num_tokens // 16
    runner = make_runner("Qwen3", num_blocks, 16, native=True, dtype=dtype, quantization=quantization)
    return EngineCore(Scheduler(BlockPool(num_blocks), 16, 5, budget), runner)


@in_every_precision
def test_in_every_precision_tokens_do_not_depend_on_neighbours_chunks_or_preemption(
    dtype: torch.dtype, quantization: str
) -> None:
    prompts = make_prompts(8, longest=40)
    alone = [run(make_core(dtype, quantization), [prompt])[0] for prompt in prompts]
    assert run(make_core(dtype, quantization), prompts) == alone
    assert run(make_core(dtype, quantization, num_tokens=96, budget=7), prompts) == alone
    assert len({token_id for output in alone for token_id in output}) > 5


def rounded(weight: torch.Tensor, quantization: str, is_head: bool) -> torch.Tensor:
    """What is left of weights after quantisation, by the definition: integers times a bfloat16 scale per block."""
    size, least, most = (32, -8, 7) if quantization == "int4" and not is_head else (64, -127, 127)
    outputs, inputs = weight.shape
    blocks = torch.nn.functional.pad(weight, (0, -inputs % size)).view(outputs, -1, size)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    if most == 127:
        candidates = [largest.abs() / 127]
    else:
        candidates = [largest / reach for reach in (-8.5, -8.25, -8.0, -7.75, -7.5, -7.25, -7.0, -6.75, -6.5)]
    scales = [scale.bfloat16().float() for scale in candidates]
    kept = torch.stack([(blocks / scale).round().clamp(least, most).nan_to_num() * scale for scale in scales])
    best = (kept - blocks).square().sum(3, keepdim=True).argmin(0, keepdim=True)
    return kept.gather(0, best.expand(1, -1, -1, size))[0].view(outputs, -1)[:, :inputs]


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(("dtype", "quantization"), [(torch.float32, "none"), *PRECISIONS])
def test_logits_are_those_of_the_weights_that_are_left_after_rounding(
    dtype: torch.dtype, quantization: str, tied: bool
) -> None:
    """transformers' modules in float32 over the rounded weights; what remains is the rounding of activations."""
    attention.register()
    stored: Any = copy.deepcopy(reference_model("Qwen3")).to(dtype)
    stored.set_attn_implementation("paged")
    if tied:
        stored.lm_head.weight = stored.model.embed_tokens.weight
    widened: Any = copy.deepcopy(stored).float()
    if quantization != "none":
        if tied:
            widened.model.embed_tokens.weight.data = rounded(widened.lm_head.weight, quantization, True)
        for name, module in widened.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = rounded(module.weight, quantization, is_head=name == "lm_head")
    layers = trace_layers(stored.config)
    library_of = library.load_library(dtype, quantization)
    native = NativeDecoder(library_of, stored, KVCache(layers, 8, 16, dtype, CPU), 128)
    reference = ModuleDecoder(widened, KVCache(layers, 8, 16, torch.float32, CPU))
    scheduler = Scheduler(BlockPool(8), 16, 4, 512)
    scheduler.add(Sequence(1, range(1, 60), greedy(1)))
    batch = build_forward_batch(scheduler.schedule(), 16, CPU)
    with torch.inference_mode():
        expected, given = reference.forward(batch), native.forward(batch)
    tolerance = 1e-4 if dtype is torch.float32 and quantization == "none" else 0.03
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


def test_gates_that_are_shut_tightly_let_nothing_through() -> None:
    """Where a gate's sigmoid leaves what a float can hold, transformers' is 0 and so is ours."""
    attention.register()
    model: Any = copy.deepcopy(reference_model("Qwen3"))
    model.set_attn_implementation("paged")
    for layer in model.model.layers:
        layer.mlp.gate_proj.weight.data *= 1000
    layers = trace_layers(model.config)
    kernels = library.load_library(torch.float32, "none")
    native = NativeDecoder(kernels, copy.deepcopy(model), KVCache(layers, 8, 16, torch.float32, CPU), 128)
    reference = ModuleDecoder(model, KVCache(layers, 8, 16, torch.float32, CPU))
    gates: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.mlp.gate_proj.register_forward_hook(lambda _module, _input, output: gates.append(output))
    scheduler = Scheduler(BlockPool(8), 16, 4, 512)
    scheduler.add(Sequence(1, range(1, 60), greedy(1)))
    batch = build_forward_batch(scheduler.schedule(), 16, CPU)
    with torch.inference_mode():
        expected = reference.forward(batch)
    assert ((torch.cat(gates) > -175) & (torch.cat(gates) < -90)).any(), "the test looks at what it should"
    torch.testing.assert_close(native.forward(batch), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(("dtype", "quantization"), [(torch.float32, "none"), *PRECISIONS])
def test_what_is_not_a_number_stays_so_up_to_the_logits(dtype: torch.dtype, quantization: str) -> None:
    """Integers know no NaN: without care a broken model would go on with nonsense instead of an error."""
    attention.register()
    model: Any = copy.deepcopy(reference_model("Qwen3")).to(dtype)
    with torch.no_grad():
        model.model.embed_tokens.weight[7, 3] = torch.nan
    layers = trace_layers(model.config)
    kernels = library.load_library(dtype, quantization)
    native = NativeDecoder(kernels, model, KVCache(layers, 8, 16, dtype, CPU), 128)
    scheduler = Scheduler(BlockPool(8), 16, 4, 512)
    scheduler.add(Sequence(1, (1, 2, 3), greedy(1)))
    scheduler.add(Sequence(2, (4, 5, 7), greedy(1)))
    rows = native.forward(build_forward_batch(scheduler.schedule(), 16, CPU)).isfinite()
    assert rows[0].all()
    assert not rows[1].any()


def test_quantised_weights_take_the_memory_they_should() -> None:
    """Per weight of the layers 1 byte or half of one, and 2 bytes a block of 64 or 32; tied weights are kept once."""
    model = copy.deepcopy(reference_model("Qwen3"))
    layer = model.model.layers[0]
    num_weights = sum(module.weight.numel() for module in layer.modules() if isinstance(module, torch.nn.Linear))
    sizes = {}
    for quantization in ("none", "int8", "int4"):
        runner = make_runner("Qwen3", 8, 16, native=True, quantization=quantization)
        sizes[quantization] = runner.decoder.weight_bytes
    head = VOCAB_SIZE * 64
    # An intermediate size of 96 is one and a half blocks of 64: the down projection is filled up.
    filled = num_weights + 64 * 32
    num_layers = len(model.model.layers)
    assert (
        sizes["none"] - sizes["int8"] == num_layers * (4 * num_weights - filled * 66 // 64) + head * 4 - head * 66 // 64
    )
    assert sizes["int8"] - sizes["int4"] == num_layers * (filled * 66 // 64 - num_weights * 18 // 32)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="chooses x86-64 instructions")
@pytest.mark.parametrize(
    "flags",
    [(*compiler.FLAGS, "-DWITHOUT_AMX"), (*compiler.PORTABLE_FLAGS, "-mavx2")],
    ids=["no AMX", "AVX2"],
)
@pytest.mark.parametrize(("dtype", "quantization"), [(torch.bfloat16, "none"), (torch.bfloat16, "int4")])
def test_an_older_processor_computes_the_same(
    dtype: torch.dtype, quantization: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without AMX, and without any instructions for products: the same but for the order of additions."""
    newest = make_core(dtype, quantization)
    monkeypatch.setattr(compiler, "FLAGS", flags)
    library.load_library.cache_clear()
    oldest = make_core(dtype, quantization)
    library.load_library.cache_clear()
    logits = []
    for core in (newest, oldest):
        core.apply(Generate(0, range(1, 60), greedy(1)))
        batch = build_forward_batch(core.scheduler.schedule(), 16, CPU)
        logits.append(cast(ModelRunner, core.runner).decoder.forward(batch))
    torch.testing.assert_close(logits[0], logits[1], rtol=0.03, atol=0.03 * logits[0].abs().max().item())
