"""Kernels read plain matrices: a module that has something else in their place is refused before anything reads it."""

from __future__ import annotations

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
    load_model = startup.load_model

    def load_and_quantise(*arguments: Any) -> Any:
        model: Any = load_model(*arguments)
        attention = model.model.layers[1].self_attn
        attention.o_proj = change(attention.o_proj)
        return model

    monkeypatch.setattr(startup, "load_model", load_and_quantise)
    config = Config(model=str(llama_dir), device="cpu", threads=1, kv_cache_memory="4MiB")
    with pytest.raises(
        CannotServe, match=rf"^model\.layers\.1\.self_attn\.o_proj {words}, .*plain matrices of float32 \[64, 64\]"
    ):
        start_engine(config, lambda _: None)
