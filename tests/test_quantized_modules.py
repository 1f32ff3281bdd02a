"""Kernels read plain matrices: a module that has something else in their place is refused before anything reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from app.config import Config
from app.engine import startup
from app.engine.startup import CannotServe, start_engine


class Packed(nn.Module):
    """Four bits for each weight, two in a byte, as one long column."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(linear.weight.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
        self.bias = None


class Wrapped(nn.Parameter):
    """As libraries have it that quantise behind a tensor's back."""


def to_float8(linear: nn.Linear) -> nn.Linear:
    linear.weight = nn.Parameter(linear.weight.to(torch.float8_e4m3fn), requires_grad=False)
    return linear


def to_another_shape(linear: nn.Linear) -> nn.Linear:
    linear.weight = nn.Parameter(linear.weight[:, ::2].clone(), requires_grad=False)
    return linear


def to_wrapped(linear: nn.Linear) -> nn.Linear:
    linear.weight = Wrapped(linear.weight.detach(), requires_grad=False)
    return linear


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (to_float8, r"is a Linear with float8_e4m3fn \[64, 64\]"),
        (Packed, r"is a Packed with uint8 \[2048, 1\]"),
        (to_another_shape, r"is a Linear with float32 \[64, 32\]"),
        (to_wrapped, r"is a Linear with float32 \[64, 64\]"),
    ],
)
def test_a_start_on_quantised_modules_is_refused_by_the_name_of_the_first(
    change: Callable[[nn.Linear], nn.Module], words: str, llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quantise(model: Any) -> None:
        attention = model.model.layers[1].self_attn
        attention.o_proj = change(attention.o_proj)

    reason = refusal_of_a_start(quantise, llama_dir, monkeypatch)
    expected = rf"model\.layers\.1\.self_attn\.o_proj {words}, .*plain matrices of float32 \[64, 64\]"
    assert re.match(expected, reason), reason


def cut_a_norm(model: Any) -> None:
    norm = model.model.layers[0].input_layernorm
    norm.weight = nn.Parameter(norm.weight[:32].clone(), requires_grad=False)


def halve_the_rotation(model: Any) -> None:
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq[:4]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut_a_norm, "model.layers.0.input_layernorm.weight has the shape [32], and by the configuration it is [64]"),
        (halve_the_rotation, "model.rotary_emb has the shape [1, 256, 8], and by the configuration it is [1, 256, 16]"),
    ],
)
def test_a_start_on_vectors_of_another_size_is_refused(
    change: Callable[[Any], None], reason: str, llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal_of_a_start(change, llama_dir, monkeypatch) == reason


def refusal_of_a_start(change: Callable[[Any], None], directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """On a model that is changed as soon as it is loaded."""
    load_model = startup.load_model

    def load_and_change(*arguments: Any) -> Any:
        model = load_model(*arguments)
        change(model)
        return model

    monkeypatch.setattr(startup, "load_model", load_and_change)
    config = Config(model=str(directory), device="cpu", threads=1, kv_cache_memory="4MiB")
    with pytest.raises(CannotServe) as refused:
        start_engine(config, lambda _: None)
    return str(refused.value)
