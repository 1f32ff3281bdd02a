"""What can be served, what is refused and why: decided before a single weight is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as tf

from app.model.kv_cache import LayerShape
from app.model.loading.configuration import inspect_model, select_device, select_dtype
from app.model.loading.support import UnsupportedModel
from app.model.loading.weights import load_model
from tests.models import ARCHITECTURES, reference_model

TINY = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128}


def saved(config: tf.PretrainedConfig, directory: Path) -> Path:
    config.save_pretrained(directory)
    return directory


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (tf.T5Config(), "encoder-decoder"),
        (tf.MambaConfig(**TINY), "a recurrent state"),
        (tf.BloomConfig(hidden_size=64, n_layer=2, n_head=4), "attention in transformers cannot be replaced"),
        (tf.FalconConfig(**TINY, num_attention_heads=4), "attention in transformers cannot be replaced"),
        (tf.Qwen3NextConfig(**TINY), "a recurrent state"),
        (tf.Llama4TextConfig(**TINY, num_local_experts=2), "chunked_attention"),
        (tf.Lfm2Config(**TINY, layer_types=["conv", "full_attention"]), r"a recurrent state \(conv\)"),
        (tf.BertConfig(**TINY, num_attention_heads=4), "not causal"),
        (tf.ViTConfig(), "no causal language model"),
        (tf.CLIPConfig(), r"joins several models \(text_config, vision_config\)"),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_a_model_that_cannot_be_served_is_refused_with_its_reason(
    config: tf.PretrainedConfig, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        inspect_model(saved(config, tmp_path))


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"config\.json is missing"):
        inspect_model(tmp_path)


def test_weights_that_are_not_safetensors_are_refused(tmp_path: Path) -> None:
    model = reference_model("Llama")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    facts = inspect_model(tmp_path)
    with pytest.raises(UnsupportedModel, match="cannot be loaded"):
        load_model(tmp_path, facts, torch.float32, torch.device("cpu"))


def test_the_trace_tells_what_every_layer_stores(tmp_path: Path) -> None:
    deepseek = inspect_model(saved(ARCHITECTURES["DeepSeek-V3"](), tmp_path))
    assert deepseek.layers == [LayerShape(num_kv_heads=4, key_size=16, value_size=12)] * 3


def test_rotary_embeddings_that_depend_on_the_batch_are_served_up_to_where_they_switch(tmp_path: Path) -> None:
    factors = [1.0] * 8
    config = tf.Phi3Config(
        **TINY,
        num_attention_heads=4,
        intermediate_size=64,
        pad_token_id=0,
        max_position_embeddings=4096,
        original_max_position_embeddings=1024,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": factors,
            "long_factor": factors,
            "original_max_position_embeddings": 1024,
        },
    )
    assert inspect_model(saved(config, tmp_path)).max_model_len == 1024


def test_the_dtype_is_the_stored_one_on_a_gpu_and_float32_on_a_cpu() -> None:
    config = tf.LlamaConfig(dtype=torch.bfloat16)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert select_dtype("auto", config, gpu, keeps_bfloat16=False) == torch.bfloat16
    assert select_dtype("auto", config, cpu, keeps_bfloat16=False) == torch.float32
    assert select_dtype("auto", config, cpu, keeps_bfloat16=True) == torch.bfloat16
    assert select_dtype("auto", tf.LlamaConfig(dtype=torch.float16), cpu, keeps_bfloat16=True) == torch.float32
    assert select_dtype("float16", config, cpu, keeps_bfloat16=True) == torch.float16


def test_a_named_device_is_taken_as_it_is() -> None:
    assert select_device("cuda:1") == torch.device("cuda:1")


def test_a_model_that_needs_code_of_its_own_is_refused_and_the_code_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.Own"}}')
    (tmp_path / "configuration_own.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(UnsupportedModel, match=r"auto_map in config\.json"):
        inspect_model(tmp_path)
    assert not ran.exists()


@pytest.mark.parametrize("number", [0, -1])
def test_a_model_without_layers_is_refused_by_the_field(number: int, tmp_path: Path) -> None:
    tf.LlamaConfig(num_hidden_layers=number).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match=f"num_hidden_layers is {number}"):
        inspect_model(tmp_path)


def test_a_model_that_says_it_reads_without_end_is_refused_by_the_field(tmp_path: Path) -> None:
    tf.LlamaConfig(**TINY, max_position_embeddings=10**12).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match=r"max_position_embeddings is 1000000000000 in"):
        inspect_model(tmp_path)
