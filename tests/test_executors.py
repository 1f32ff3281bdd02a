"""Which executor runs a model, by what the model and the device are said to be; no GPU is needed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from transformers import GemmaConfig, LlamaConfig

from app.model.executors import EXECUTORS, NoExecutor, Selection, select_executor
from app.model.kv_cache import LayerShape
from app.model.loading.configuration import ModelFacts
from app.model.triton import executor
from app.settings import DeviceSettings

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SLOWER = "the sdpa backend runs the model, since {}, which is faster, cannot: {}"


def facts_of(num_heads: int, num_kv_heads: int, head_size: int) -> ModelFacts:
    layers = [LayerShape(num_kv_heads, head_size, head_size)] * 2
    return ModelFacts(LlamaConfig(num_attention_heads=num_heads), layers, 128)


def selected(
    backend: str,
    facts: ModelFacts,
    device: torch.device = CUDA,
    dtype: str = "float32",
    quantization: str = "none",
) -> Selection:
    return select_executor(facts, device, backend, dtype, quantization, block_size=16)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One like a GeForce of Ampere's, on a machine with all that Triton needs; what it is may be changed."""
    said = SimpleNamespace(capability=(8, 6), packages={"triton"}, commands={"gcc"}, shared_memory=99 * 1024)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: said.capability)
    monkeypatch.setattr(executor, "find_spec", lambda name: name if name in said.packages else None)
    monkeypatch.setattr(executor.shutil, "which", lambda name: name if name in said.commands else None)
    return said


@pytest.fixture
def room(gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    monkeypatch.setattr("app.model.triton.tiling.shared_memory_of", lambda _: gpu.shared_memory)


def test_every_executor_can_be_asked_for_by_its_name() -> None:
    names = get_args(DeviceSettings.model_fields["backend"].annotation)
    assert sorted(names) == sorted(["auto", *(entry.name for entry in EXECUTORS)])


def test_a_llama_runs_on_the_compiled_kernels_of_a_cpu_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert selected("auto", facts_of(8, 2, 64), CPU).executor.name == "native"
    assert caplog.messages == []


def test_one_line_says_why_a_faster_executor_was_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert selected("auto", facts_of(8, 2, 8), CPU).executor.name == "sdpa"
    assert caplog.messages == [SLOWER.format("native", "its head size is 8, and the kernels need a multiple of 16")]
    assert caplog.records[0].levelno == logging.WARNING


def test_it_says_too_where_the_slower_one_has_larger_numbers(caplog: pytest.LogCaptureFixture) -> None:
    facts = ModelFacts(GemmaConfig(dtype=torch.bfloat16), [LayerShape(1, 256, 256)], 128)
    assert selected("auto", facts, CPU, "auto").setup.dtype == torch.float32
    [line] = caplog.messages
    assert line.startswith("the sdpa backend runs the model in float32 instead of bfloat16, since native, ")


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (
            {"backend": "native"},
            "--backend native cannot run this model (its head size is 8, and the kernels need a multiple of 16); "
            "use --backend auto instead",
        ),
        (
            {"backend": "auto", "quantization": "int8"},
            "--quantization int8 cannot run this model (native: its head size is 8, and the kernels need a multiple "
            "of 16; sdpa: it does not quantise weights); use --quantization none instead",
        ),
        (
            {"backend": "sdpa", "quantization": "int4"},
            "--backend sdpa --quantization int4 cannot run this model (it does not quantise weights); "
            "use --backend auto --quantization none instead",
        ),
        (
            {"backend": "triton"},
            "--backend triton cannot run this model (it runs on cuda only, and the device is cpu); "
            "use --backend auto instead",
        ),
    ],
    ids=["native", "int8", "sdpa in int4", "triton"],
)
def test_what_cannot_be_run_as_asked_is_refused_with_the_reason_and_what_would_work(
    options: dict[str, str], refusal: str
) -> None:
    with pytest.raises(NoExecutor) as refused:
        selected(facts=facts_of(8, 2, 8), device=CPU, **options)
    assert str(refused.value) == refusal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"packages": set()}, "the triton package is not installed (pip install triton)"),
        ({"commands": set()}, "Triton needs a C compiler, and there is none (install gcc, or name one in CC)"),
        ({"capability": (7, 5)}, "the GPU is older than Ampere (--backend triton tries)"),
    ],
)
def test_where_triton_cannot_run_plain_torch_does_and_one_line_says_why(
    changes: dict[str, object], reason: str, gpu: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    vars(gpu).update(changes)
    with caplog.at_level(logging.WARNING, "millrace.engine"):
        assert selected("auto", facts_of(8, 2, 64)).executor.name == "sdpa"
    assert caplog.messages == [SLOWER.format("triton", reason)]


@pytest.mark.usefixtures("gpu")
def test_heads_that_the_kernels_were_not_checked_for_are_left_to_torch(caplog: pytest.LogCaptureFixture) -> None:
    assert selected("auto", facts_of(8, 2, 512), dtype="bfloat16").executor.name == "sdpa"
    assert caplog.messages == [SLOWER.format("triton", "heads are larger than 256 (--backend triton tries)")]


@pytest.mark.usefixtures("gpu")
def test_sdpa_that_was_asked_for_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert selected("sdpa", facts_of(8, 2, 64)).executor.name == "sdpa"
    assert caplog.messages == []


@pytest.mark.usefixtures("room")
def test_a_chip_that_holds_no_tile_is_left_to_torch_and_the_line_says_what_would_help(
    caplog: pytest.LogCaptureFixture,
) -> None:
    large = facts_of(64, 1, 256)
    with caplog.at_level(logging.WARNING, "millrace.engine"):
        assert selected("auto", large).executor.name == "sdpa"
    (line,) = caplog.messages
    assert line.startswith(SLOWER.format("triton", "no tile of attention fits the GPU: "))
    assert line.endswith(" KiB of shared memory are needed, and it has 99 (--dtype bfloat16 takes half)")


@pytest.mark.usefixtures("room")
def test_triton_that_is_asked_for_and_fits_no_chip_is_refused_before_weights_are_read() -> None:
    reason = r"^--backend triton cannot run this model \(no tile of attention fits the GPU: .*; use --backend"
    with pytest.raises(NoExecutor, match=reason):
        selected("triton", facts_of(64, 1, 256))


@pytest.mark.usefixtures("room")
def test_triton_that_is_asked_for_and_can_run_is_taken() -> None:
    assert selected("triton", facts_of(8, 2, 64)).executor.name == "triton"


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("head_size", [32, 64, 80, 128, 256])
def test_usual_models_fit_every_chip_since_ampere(head_size: int, dtype: str) -> None:
    assert selected("auto", facts_of(32, 4, head_size), dtype=dtype).executor.name == "triton"
