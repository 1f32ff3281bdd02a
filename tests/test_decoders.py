"""Which decoder is chosen on a GPU, by what the GPU is said to be; none is needed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from app.config import Config
from app.engine.decoders import choose_decoder
from app.engine.failures import CannotServe
from app.engine.startup import choose_backend
from app.model.kv_cache import LayerShape
from app.model.loading.configuration import ModelFacts
from app.model.modules.decoder import ModuleDecoder
from app.model.triton import support
from app.model.triton.support import find_obstacle

CUDA = torch.device("cuda")
ANYWHERE = "the sdpa backend runs, since triton, which is faster, cannot: "


def facts_of(num_heads: int, num_kv_heads: int, head_size: int) -> ModelFacts:
    layers = [LayerShape(num_kv_heads, head_size, head_size)] * 2
    return ModelFacts(LlamaConfig(num_attention_heads=num_heads), layers, 128)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One like a GeForce of Ampere's, on a machine with all that Triton needs; what it is may be changed."""
    said = SimpleNamespace(capability=(8, 6), packages={"triton"}, commands={"gcc"}, shared_memory=99 * 1024)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: said.capability)
    monkeypatch.setattr(support, "find_spec", lambda name: name if name in said.packages else None)
    monkeypatch.setattr(support.shutil, "which", lambda name: name if name in said.commands else None)
    return said


@pytest.fixture
def room(gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    monkeypatch.setattr("app.model.triton.tiling.shared_memory_of", lambda _: gpu.shared_memory)


def chosen(backend: str, facts: ModelFacts, dtype: torch.dtype = torch.float32) -> object:
    config: Any = SimpleNamespace(backend=backend)
    model: Any = SimpleNamespace(device=CUDA, dtype=dtype)
    return choose_decoder(config, facts, model, None)  # type: ignore[arg-type]


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
        assert isinstance(chosen("auto", facts_of(8, 2, 64)), ModuleDecoder)
    assert caplog.messages == [ANYWHERE + reason]


@pytest.mark.usefixtures("gpu")
def test_heads_that_the_kernels_were_not_checked_for_are_left_to_torch() -> None:
    reason = find_obstacle(facts_of(8, 2, 512), CUDA, torch.bfloat16, is_asked_for=False)
    assert reason == "heads are larger than 256 (--backend triton tries)"


@pytest.mark.usefixtures("gpu")
def test_sdpa_that_was_asked_for_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(chosen("sdpa", facts_of(8, 2, 64)), ModuleDecoder)
    assert caplog.messages == []


@pytest.mark.usefixtures("room")
def test_a_chip_that_holds_no_tile_is_left_to_torch_and_the_line_says_what_would_help(
    caplog: pytest.LogCaptureFixture,
) -> None:
    large = facts_of(64, 1, 256)
    with caplog.at_level(logging.WARNING, "millrace.engine"):
        assert isinstance(chosen("auto", large), ModuleDecoder)
    (line,) = caplog.messages
    assert line.startswith(ANYWHERE + "no tile of attention fits the GPU: ")
    assert line.endswith(" KiB of shared memory are needed, and it has 99 (--dtype bfloat16 takes half)")


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize(
    ("device", "facts", "reason"),
    [
        (CUDA, facts_of(64, 1, 256), "no tile of attention fits the GPU: "),
        (torch.device("cpu"), facts_of(8, 2, 64), "there is no CUDA device$"),
    ],
    ids=["large heads", "CPU"],
)
def test_triton_that_is_asked_for_and_cannot_run_is_refused_before_weights_are_read(
    device: torch.device, facts: ModelFacts, reason: str
) -> None:
    with pytest.raises(CannotServe, match=f"^--backend triton cannot run; use --backend auto: {reason}"):
        choose_backend(Config(backend="triton", dtype="float32"), facts, device)


@pytest.mark.usefixtures("room")
def test_triton_that_is_asked_for_and_can_run_is_taken() -> None:
    assert choose_backend(Config(backend="triton", dtype="bfloat16"), facts_of(8, 2, 64), CUDA) == (
        torch.bfloat16,
        None,
    )


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head_size", [32, 64, 80, 128, 256])
def test_usual_models_fit_every_chip_since_ampere(head_size: int, dtype: torch.dtype) -> None:
    assert find_obstacle(facts_of(32, 4, head_size), CUDA, dtype, is_asked_for=False) is None
