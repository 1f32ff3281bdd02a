"""Each thing that Millrace uses of transformers beyond its documentation, tried on the installed version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from transformers.utils import loading_report

from app.model import transformers_internals as internals
from tests.models import ARCHITECTURES, reference_model

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.mark.parametrize("package", ["transformers", "uvicorn", "sse-starlette"])
def test_packages_whose_insides_are_used_are_bounded_from_above(package: str) -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    [bounds] = [line.removeprefix(package) for line in dependencies if re.match(rf"{package}[><=]", line)]
    assert re.fullmatch(r">=[\d.]+,<\d+", bounds)


def test_layers_call_the_registered_attention_and_masks_are_described_by_functions() -> None:
    masks, calls = [], []

    def describe(*, batch_size: int, kv_length: int, mask_function: Any, **_: Any) -> torch.Tensor:
        positions = torch.arange(kv_length)[None]
        first = torch.zeros(1, 1, dtype=torch.int64)
        masks.append((batch_size, kv_length, bool(mask_function(first, first, positions.T, positions)[0, -1])))
        return torch.ones(batch_size, 1, 1, kv_length, dtype=torch.bool)

    def attend(module: Any, query: torch.Tensor, *others: Any, scaling: float, **_: Any) -> Any:
        _key, _value, mask = others
        calls.append((module.layer_idx, mask.shape[-1], scaling))
        return query.transpose(1, 2), None

    internals.register_attention("tried", attend)
    internals.register_masks("tried", describe)
    model = tf.AutoModelForCausalLM.from_config(ARCHITECTURES["Llama"](), attn_implementation="tried")
    token = torch.zeros(1, 1, dtype=torch.int64)
    model(input_ids=token, position_ids=token, attention_mask=torch.ones_like(token), use_cache=False)
    assert masks == [(1, 1, True)]
    assert calls == [(index, 1, model.config.head_dim**-0.5) for index in range(model.config.num_hidden_layers)]


def test_a_configuration_leads_to_the_class_of_its_model_and_what_that_says_of_itself() -> None:
    llama, mamba, bloom = map(internals.causal_model_class, (tf.LlamaConfig(), tf.MambaConfig(), tf.BloomConfig()))
    assert (llama, mamba) == (tf.LlamaForCausalLM, tf.MambaForCausalLM)
    assert internals.causal_model_class(tf.ViTConfig()) is None
    assert [internals.is_stateful(model) for model in (llama, mamba)] == [False, True]
    assert [internals.has_replaceable_attention(model) for model in (llama, bloom)] == [True, False]


def test_configurations_that_join_several_models_are_told_from_others() -> None:
    assert not internals.is_composite(tf.LlamaConfig())
    assert internals.is_composite(tf.LlavaConfig())
    assert internals.parts_of(tf.CLIPConfig()) == ["text_config", "vision_config"]


def test_a_configuration_is_made_from_its_fields() -> None:
    made = internals.configuration_from({"model_type": "llama", "hidden_size": 96, "torch_dtype": "bfloat16"})
    assert isinstance(made, tf.LlamaConfig)
    assert (made.hidden_size, made.dtype) == (96, torch.bfloat16)


def test_rotary_parameters_are_those_of_the_model_or_of_each_kind_of_layer() -> None:
    assert [rope["rope_type"] for rope in internals.rope_variants(tf.LlamaConfig())] == ["default"]
    assert len(internals.rope_variants(tf.Gemma3TextConfig())) == 2
    assert internals.rope_variants(tf.GPT2Config()) == []


def test_the_cache_of_transformers_says_how_far_each_layer_sees() -> None:
    config = tf.MistralConfig(num_hidden_layers=2, sliding_window=8)
    assert internals.cached_windows(config) == [8, 8]
    assert set(internals.cached_windows(tf.LlamaConfig(num_hidden_layers=2))) <= {None}


def test_reading_weights_is_reported_to_its_end(tmp_path: Path) -> None:
    reference_model("Llama").save_pretrained(tmp_path)
    shares: list[float] = []
    with internals.loading_progress(shares.append):
        tf.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_words_of_a_failed_conversion_are_still_the_ones_that_are_looked_for() -> None:
    assert internals.is_failed_conversion(RuntimeError(Path(loading_report.__file__).read_text()))
    assert not internals.is_failed_conversion(RuntimeError("the file is not there"))
