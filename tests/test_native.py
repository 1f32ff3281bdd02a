"""The compiled kernels: where they apply, what they compute in bfloat16, and what happens without a compiler."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import transformers as tf

from app.model import attention
from app.model.inputs import build_forward_batch
from app.model.kv_cache import KVCache, LayerShape
from app.model.loader import trace_layers
from app.model.modules import ModuleDecoder
from app.model.native import library
from app.model.native.decoder import applies, make_native_decoder
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence
from tests.models import ARCHITECTURES, greedy, reference_model

CPU = torch.device("cpu")
LAYERS = [LayerShape(num_kv_heads=2, key_size=16, value_size=16)] * 3


def llama(**changes: object) -> tf.LlamaConfig:
    config = ARCHITECTURES["Llama"]()
    assert isinstance(config, tf.LlamaConfig)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def test_the_kernels_apply_to_a_llama_on_a_cpu() -> None:
    assert applies(llama(), LAYERS, 16, CPU)


@pytest.mark.parametrize(
    ("config", "layers", "block_size", "device"),
    [
        (llama(), LAYERS, 16, torch.device("cuda")),
        (llama(), LAYERS, 8, CPU),
        (llama(), [LayerShape(2, 24, 24)], 16, CPU),
        (llama(), [LayerShape(2, 16, 32)], 16, CPU),
        (llama(hidden_size=72), LAYERS, 16, CPU),
        (llama(hidden_act="gelu"), LAYERS, 16, CPU),
        (llama(mlp_bias=True), LAYERS, 16, CPU),
        (ARCHITECTURES["Gemma-2"](), LAYERS, 16, CPU),
    ],
    ids=["gpu", "block", "head", "uneven heads", "hidden", "activation", "bias", "architecture"],
)
def test_they_do_not_apply_where_they_would_compute_something_else(
    config: tf.PretrainedConfig, layers: list[LayerShape], block_size: int, device: torch.device
) -> None:
    assert not applies(config, layers, block_size, device)


def test_without_a_compiler_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert library.load_library.__wrapped__(torch.float32) is None


def test_a_compiler_that_fails_is_reported_and_does_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("this is not C")
    monkeypatch.setattr(library, "SOURCE", broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library.load_library.__wrapped__(torch.float32) is None
    assert "cannot be compiled" in caplog.text


def test_a_library_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library.load_library.__wrapped__(torch.float32) is not None
    [made] = (tmp_path / "millrace").iterdir()
    before = made.stat().st_mtime_ns
    assert library.load_library.__wrapped__(torch.float32) is not None
    assert made.stat().st_mtime_ns == before


def test_bfloat16_weights_give_the_logits_of_the_same_weights_in_float32() -> None:
    """Only what is stored is rounded: beyond the cache's own rounding, arithmetic is float32."""
    attention.register()
    stored = copy.deepcopy(reference_model("Qwen3")).to(torch.bfloat16)
    widened = copy.deepcopy(stored).float()
    widened.set_attn_implementation("paged")
    layers = trace_layers(stored.config)
    native = make_native_decoder(stored, layers, KVCache(layers, 8, 16, torch.bfloat16, CPU), 128)
    assert native is not None
    reference = ModuleDecoder(widened, KVCache(layers, 8, 16, torch.float32, CPU))
    scheduler = Scheduler(BlockPool(8), 16, 4, 512)
    scheduler.add(Sequence(1, range(1, 60), greedy(1)))
    batch = build_forward_batch(scheduler.schedule(), 16, CPU)
    with torch.inference_mode():
        expected, given = reference.forward(batch), native.forward(batch)
    torch.testing.assert_close(given, expected, rtol=0.02, atol=0.02 * expected.abs().max().item())
