"""What a layer sees is read from the mask that transformers would build for it, and what is not known is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from app.model.kv_cache import LayerShape
from app.model.loading.masks import Mask, Sees, UnknownMask, window_of
from app.model.loading.support import UnsupportedModel
from app.model.loading.tracing import _Trace, trace_layers
from tests.models import ARCHITECTURES, WINDOW

LENGTHS = (1, 2, 100, 4096, 131072)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_causal_mask_shows_all_that_came_before(length: int) -> None:
    assert window_of(causal_mask_function, length) is None


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("window", [1, 2, 63, 64, 1000, 4096])
def test_a_sliding_window_is_found_whatever_its_size(window: int, length: int) -> None:
    assert window_of(sliding_window_causal_mask_function(window), length) == (window if window < length else None)


def with_a_hole(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return (key <= query) & (query - key != 5)


def one_too_many(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return key <= query + 1


def with_a_prefix(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return (key <= query) & ((key < 4) | (key > query - 16))


@pytest.mark.parametrize("length", [100, 131072])
@pytest.mark.parametrize(
    ("sees", "reason"),
    [
        (bidirectional_mask_function, "not causal"),
        (one_too_many, "not causal"),
        (chunked_causal_mask_function(16, torch.zeros(1, dtype=torch.int64)), "neither causal nor a sliding window"),
        (with_a_hole, "neither causal nor a sliding window"),
        (with_a_prefix, "neither causal nor a sliding window"),
        (lambda b, _h, _q, k: torch.ones(1, 200000, device="meta")[b, k] > 0, "depends on more than positions"),
    ],
    ids=["both ways", "one token ahead", "chunks", "a hole", "a prefix and a window", "values"],
)
def test_any_other_mask_is_unknown(sees: Sees, reason: str, length: int) -> None:
    with pytest.raises(UnknownMask, match=reason):
        window_of(sees, length)


def test_a_layer_has_the_window_of_its_mask() -> None:
    assert [layer.window for layer in trace_layers(ARCHITECTURES["Gemma-3"]())] == [WINDOW, None, WINDOW]


def test_a_window_that_only_the_mask_knows_of_is_found() -> None:
    config = tf.Qwen2MoeConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=128,
        num_experts=4,
        use_sliding_window=True,
        sliding_window=16,
        max_window_layers=2,
    )
    assert trace_layers(config) == [LayerShape(2, 16, 16, window=16), LayerShape(2, 16, 16)]


def attend(mask: torch.Tensor | None, sinks: torch.Tensor | None = None, **options: Any) -> None:
    trace = _Trace(ARCHITECTURES["Llama"]())
    module: Any = torch.nn.Module()
    module.layer_idx, module.sinks = 0, sinks
    query = key = value = torch.empty(1, 4, 1, 16)
    trace(module, query, key, value, attention_mask=mask, **options)


CAUSAL = Mask.of((1, 1, 1, 1), causal_mask_function)


def test_options_that_are_honoured_or_off_or_without_effect_are_let_through() -> None:
    attend(CAUSAL, scaling=0.25, softcap=2.0, s_aux=torch.zeros(4), dropout=0.0, indices=None, use_cache=False)


@pytest.mark.parametrize(
    "options", [{"position_bias": torch.zeros(1)}, {"dropout": 0.1}, {"indices": torch.zeros(1)}, {"alibi": True}]
)
def test_an_option_that_would_be_lost_is_refused_by_its_name(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(UnsupportedModel, match=f"its attention takes {name}$"):
        attend(CAUSAL, **options)


def test_sinks_that_stay_in_a_module_are_refused() -> None:
    sinks = torch.zeros(4)
    attend(CAUSAL, sinks, s_aux=sinks)
    with pytest.raises(UnsupportedModel, match="sinks, which it does not hand on"):
        attend(CAUSAL, sinks)


@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, 1, 1), CAUSAL & CAUSAL], ids=["none", "its own", "changed"])
def test_a_mask_that_nobody_described_is_refused(mask: torch.Tensor | None) -> None:
    with pytest.raises(UnsupportedModel, match="masks of its own"):
        attend(mask)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="shows a token nothing"):
        trace_layers(tf.MistralConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, sliding_window=0))
