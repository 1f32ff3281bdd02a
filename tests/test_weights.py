"""Weights are those of the configuration, all of them: none is ever made up."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2Model, LlamaModel, PreTrainedModel

from app.model.loading.configuration import inspect_model
from app.model.loading.support import UnsupportedModel
from app.model.loading.weights import load_model
from tests.models import reference_model

DOWN_PROJ = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    reference_model("Llama").save_pretrained(tmp_path)
    return tmp_path


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def change_config(directory: Path, **fields: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def load(directory: Path) -> PreTrainedModel:
    return load_model(directory, inspect_model(directory), torch.float32, torch.device("cpu"))


def reason(directory: Path) -> str:
    with pytest.raises(UnsupportedModel) as refused:
        load(directory)
    return str(refused.value)


def test_a_missing_weight_is_named(directory: Path) -> None:
    change_weights(directory, lambda tensors: tensors.pop(DOWN_PROJ))
    assert re.search(f"{directory} are not all.*: {DOWN_PROJ} missing; copy or download", reason(directory))


def test_of_many_missing_weights_a_few_are_named(directory: Path) -> None:
    change_config(directory, num_hidden_layers=4)
    assert re.search(r"model\.layers\.3\.\S+ and 4 more missing", reason(directory))


def test_weights_of_another_model_are_told_from_those_that_are_missing(directory: Path) -> None:
    AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=64, n_head=4, vocab_size=128)).save_pretrained(
        directory / "other"
    )
    (directory / "other" / "model.safetensors").rename(directory / "model.safetensors")
    message = reason(directory)
    assert re.search("missing; the files have .*, which it does not use; .*the config.json of the same model", message)


@pytest.mark.parametrize("fields", [{"vocab_size": 256}, {"intermediate_size": 32}, {"num_key_value_heads": 4}])
def test_weights_of_other_shapes_are_named_with_both(fields: dict[str, int], directory: Path) -> None:
    change_config(directory, **fields)
    shapes = r"\S+ \(and \d+ more\) has the shape \(.*\) in the files and \(.*\) by the configuration"
    assert re.search(f"{directory}/config.json does not describe the weights beside it: {shapes}", reason(directory))


def test_weights_that_the_model_does_not_use_are_a_line_in_the_log(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_weights(directory, lambda tensors: tensors.update({"extra.weight": torch.zeros(1)}))
    with caplog.at_level(logging.WARNING, "millrace.engine"):
        loaded = load(directory)
    assert [record.getMessage() for record in caplog.records if record.name == "millrace.engine"] == [
        f"the weights in {directory} have some that the model does not use: extra.weight"
    ]
    assert torch.equal(loaded.get_parameter(DOWN_PROJ), reference_model("Llama").get_parameter(DOWN_PROJ))


def test_a_tied_head_is_not_missing_and_one_that_is_not_tied_is(directory: Path) -> None:
    change_weights(directory, lambda tensors: tensors.pop("lm_head.weight"))
    assert re.search(r'lm_head\.weight missing; .*"tie_word_embeddings": true', reason(directory))
    change_config(directory, tie_word_embeddings=True)
    loaded = load(directory)
    assert torch.equal(loaded.lm_head.weight, reference_model("Llama").get_input_embeddings().weight)


def test_a_model_that_was_published_without_its_head_s_prefix_is_whole_if_its_head_is_tied(tmp_path: Path) -> None:
    without_head = GPT2Model(GPT2Config(n_layer=1, n_embd=64, n_head=4, vocab_size=128))
    without_head.save_pretrained(tmp_path)
    change_config(tmp_path, architectures=["GPT2LMHeadModel"])
    assert torch.equal(load(tmp_path).lm_head.weight, without_head.wte.weight)


def test_a_model_that_was_saved_without_its_head_is_refused(directory: Path) -> None:
    LlamaModel(reference_model("Llama").config).save_pretrained(directory)
    assert "lm_head.weight missing" in reason(directory)


def test_a_configuration_that_its_model_type_rejects_is_refused_in_one_line(directory: Path) -> None:
    change_config(directory, vocab_size="many")
    message = reason(directory)
    assert re.search(
        rf"transformers cannot read {directory}/config.json because of .*'vocab_size' expected int", message
    )
    assert "\n" not in message


EXPERTS = {"Mixtral": "block_sparse_moe.experts.2.w1", "Qwen3-MoE": "mlp.experts.2.down_proj"}


@pytest.mark.parametrize("architecture", EXPERTS)
@pytest.mark.parametrize("change", ["missing", "narrower"])
def test_experts_that_modules_hold_as_one_tensor_must_all_be_there(
    architecture: str, change: str, tmp_path: Path
) -> None:
    reference_model(architecture).save_pretrained(tmp_path)
    name = f"model.layers.1.{EXPERTS[architecture]}.weight"

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        weight = tensors.pop(name)
        if change == "narrower":
            tensors[name] = weight[:, :-1].contiguous()

    change_weights(tmp_path, spoil)
    message = reason(tmp_path)
    assert re.search(
        "do not fit its config.json: .*experts|does not describe the weights beside it: .*experts", message
    )
