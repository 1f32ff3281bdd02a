"""A look at a model's directory finds what is missing, broken or not served, and names the file and the cure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.checkpoint.files import BadCheckpoint
from app.checkpoint.inspection import check_model_files, check_tokenizer_files

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SHARDED, SINGLE = "sharded", "single"


def safetensors(tensors: dict[str, str]) -> bytes:
    """A file with these tensors, four bytes each, of these dtypes."""
    places = {
        name: {"dtype": dtype, "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
        for number, (name, dtype) in enumerate(tensors.items())
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **places}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * len(tensors))


def write(directory: Path, name: str, content: object) -> None:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def whole(directory: Path, kind: str = SINGLE) -> Path:
    """A directory with nothing wrong in it, as far as a look can tell."""
    write(directory, "config.json", {"model_type": "llama", "vocab_size": 4})
    write(directory, "generation_config.json", {"eos_token_id": 2})
    write(directory, "tokenizer.json", {"model": {"type": "BPE"}})
    write(directory, "tokenizer_config.json", {"eos_token": "</s>"})
    write(directory, "special_tokens_map.json", {})
    write(directory, "chat_template.json", {"chat_template": "{{ messages }}"})
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    if kind == SINGLE:
        write(directory, "model.safetensors", safetensors({"embed.weight": "BF16", "head.weight": "F32"}))
    else:
        weight_map = {"embed.weight": SHARDS[0], "head.weight": SHARDS[1]}
        write(directory, "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
        for name, shard in weight_map.items():
            write(directory, shard, safetensors({name: "BF16"}))
    return directory


def look(directory: Path) -> None:
    check_model_files(directory)
    check_tokenizer_files(directory)


def reason(directory: Path) -> str:
    """Why the directory cannot be served, in one sentence without a line break."""
    with pytest.raises(BadCheckpoint) as refused:
        look(directory)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", [SINGLE, SHARDED])
def test_a_whole_directory_passes(kind: str, tmp_path: Path) -> None:
    look(whole(tmp_path, kind))


def test_what_a_model_may_do_without_is_not_missed(tmp_path: Path) -> None:
    whole(tmp_path)
    for path in tmp_path.iterdir():
        if path.name in OPTIONAL_FILES:
            path.unlink()
    look(tmp_path)


# Each file broken in each way

NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json")
OPTIONAL_FILES = (
    *("generation_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("chat_template.json", "chat_template.jinja"),
)
EVERY_FILE = [
    *((SINGLE, name) for name in (*NEEDED_FILES, *OPTIONAL_FILES)),
    *((SHARDED, name) for name in ("model.safetensors.index.json", *SHARDS)),
]


def is_emptied(path: Path) -> None:
    path.write_bytes(b"")


def is_truncated(path: Path) -> None:
    """A template is only known to be one when it is compiled, which takes what a look does without."""
    path.write_bytes(b"" if path.suffix == ".jinja" else path.read_bytes()[:-1])


def is_an_lfs_pointer(path: Path) -> None:
    path.write_text(LFS)


def is_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def is_a_dangling_link(path: Path) -> None:
    """As the hub's cache has it when a file of it was deleted."""
    path.unlink()
    path.symlink_to("nowhere")


def is_binary(path: Path) -> None:
    path.write_bytes(b"\x80\x81" * 100)


def is_unreadable(path: Path) -> None:
    """For the superuser too, whom no permissions hold back."""
    path.unlink()
    path.symlink_to(path.name)


BREAKAGES = {
    is_emptied: "empty",
    is_truncated: "JSON|truncated|empty",
    is_an_lfs_pointer: "git lfs pull",
    is_a_directory: "not a file",
    is_a_dangling_link: "missing",
    is_binary: "UTF-8|not a safetensors file",
    is_unreadable: "cannot be read",
}


@pytest.mark.parametrize(("kind", "name"), EVERY_FILE, ids=str)
@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_a_file_that_is_broken_is_named_with_what_is_wrong(
    kind: str, name: str, breakage: Callable[[Path], None], tmp_path: Path
) -> None:
    path = whole(tmp_path, kind) / name
    breakage(path)
    message = reason(tmp_path)
    assert str(path) in message
    assert re.search(BREAKAGES[breakage], message), message


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (SINGLE, "config.json", "config.json is missing.*it holds chat_template.jinja"),
        (SINGLE, "model.safetensors", "model.safetensors is missing, and so is model.safetensors.index.json"),
        (SINGLE, "tokenizer.json", "tokenizer.json is missing, so there is no tokenizer"),
        (SHARDED, "model.safetensors.index.json", f"index.json is missing, which says what {SHARDS[0]}, {SHARDS[1]}"),
        (SHARDED, SHARDS[1], f"{SHARDS[1]} is missing; copy or download"),
    ],
)
def test_a_file_that_must_be_there_is_missed(kind: str, name: str, words: str, tmp_path: Path) -> None:
    (whole(tmp_path, kind) / name).unlink()
    assert re.search(words, reason(tmp_path))


# Directories that are none of a model


def test_an_empty_directory_is_told_apart_from_a_model_without_tokenizer(tmp_path: Path) -> None:
    assert reason(tmp_path).startswith(f"{tmp_path} is empty; ")


def test_a_path_to_a_file_is_answered_with_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert re.search("model.gguf is a file; give the directory", reason(path))
    assert "does not exist" in reason(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.gguf", "consolidated.00.pth", "consolidated.safetensors"])
def test_weights_in_another_format_are_named_and_so_is_the_way_to_convert_them(name: str, tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    assert re.search(f"weights in {name} only.*save_pretrained", reason(tmp_path))


@pytest.mark.parametrize("name", ["tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"])
def test_a_slow_tokenizer_is_refused_with_the_way_to_convert_it(name: str, tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / name)
    assert re.search(f"{name} is the file of a slow tokenizer.*save_pretrained", reason(tmp_path))


# What is whole and still not what it should be


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", [1], "config.json holds no JSON object"),
        ("config.json", {"hidden_size": 4}, "config.json has no model_type"),
        ("config.json", b"[" * 100_000, "config.json is JSON that is nested too deeply|broken or incomplete"),
        ("tokenizer.json", {}, "tokenizer.json is not a tokenizer"),
        ("generation_config.json", "greedy", "generation_config.json holds no JSON object"),
        ("model.safetensors", b"short", "not a safetensors file"),
        ("model.safetensors", b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        ("model.safetensors", (50).to_bytes(8, "little") + b"{}", "ends in its header"),
        ("model.safetensors", (2).to_bytes(8, "little") + b"{]", "broken safetensors header"),
        ("model.safetensors", (10).to_bytes(8, "little") + b'{"a":{"b"}', "broken safetensors header"),
        ("model.safetensors", (10).to_bytes(8, "little") + b'{"abc": 1}', "broken safetensors header"),
        ("model.safetensors", safetensors({"embed.weight": "F32"}) + b"more", "4 bytes too many"),
    ],
)
def test_a_file_with_the_wrong_content_is_refused(name: str, content: object, words: str, tmp_path: Path) -> None:
    write(whole(tmp_path), name, content)
    message = reason(tmp_path)
    assert str(tmp_path / name) in message
    assert re.search(words, message), message


@pytest.mark.parametrize("weight_map", [None, {}, [], {"embed.weight": 1}])
def test_an_index_without_a_map_is_refused(weight_map: object, tmp_path: Path) -> None:
    write(whole(tmp_path, SHARDED), "model.safetensors.index.json", {"weight_map": weight_map})
    assert "has no weight_map" in reason(tmp_path)


def test_a_shard_of_another_model_is_told_by_the_index(tmp_path: Path) -> None:
    write(whole(tmp_path, SHARDED), SHARDS[1], safetensors({"other.weight": "BF16"}))
    assert re.search(f"{SHARDS[1]} lacks head.weight, which .*index.json says it holds", reason(tmp_path))


# What is not served


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "quant_method modelopt, quant_algo NVFP4"),
        ({"quant_method": "gptq", "bits": 4}, "quant_method gptq, bits 4"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "compressed-tensors, format float"),
        ({"quant_method": "something-new"}, "quant_method something-new"),
        ({"load_in_4bit": True}, "by a method it does not name"),
        ({}, "by a method it does not name"),
    ],
)
@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
@pytest.mark.parametrize("nested", [False, True])
def test_quantised_weights_are_refused_by_the_name_of_the_method(
    config: dict[str, Any], words: str, key: str, nested: bool, tmp_path: Path
) -> None:
    said = {key: config}
    write(whole(tmp_path), "config.json", {"model_type": "llama"} | ({"text_config": said} if nested else said))
    message = reason(tmp_path)
    assert words in message
    assert str(tmp_path / "config.json") in message


def test_a_quantisation_that_is_null_is_none(tmp_path: Path) -> None:
    write(whole(tmp_path), "config.json", {"model_type": "llama", "quantization_config": None})
    look(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "quant_algo FP8"),
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "bits 4"),
        ("quant_config.json", {"w_bit": 4}, "w_bit 4"),
        ("hf_quant_config.json", {}, "by a method it does not name"),
    ],
)
def test_a_file_of_a_quantisation_tool_is_enough(name: str, content: object, words: str, tmp_path: Path) -> None:
    write(whole(tmp_path), name, content)
    message = reason(tmp_path)
    assert words in message
    assert str(tmp_path / name) in message


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "U8", "I8", "I32", "something new"])
@pytest.mark.parametrize("name", ["embed.weight", "h.0.c_attn.bias", "experts.down_proj_bias", "q_proj.scales"])
def test_weights_stored_as_no_plain_numbers_are_refused_whatever_the_configuration_says(
    dtype: str, name: str, tmp_path: Path
) -> None:
    write(whole(tmp_path), "model.safetensors", safetensors({name: dtype}))
    assert f"{name} is stored as {dtype}, which is not served; use the model's float32" in reason(tmp_path)


def test_buffers_may_be_integers(tmp_path: Path) -> None:
    tensors = {"h.0.attn.bias": "U8", "position_ids": "I64", "h.0.attn.masked_bias": "BOOL", "embed.weight": "F16"}
    write(whole(tmp_path), "model.safetensors", safetensors(tensors))
    look(tmp_path)


@pytest.mark.parametrize("beside_a_model", [True, False])
def test_an_adapter_is_refused_alone_and_beside_a_model(beside_a_model: bool, tmp_path: Path) -> None:
    if beside_a_model:
        whole(tmp_path)
    write(tmp_path, "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "some/base"})
    write(tmp_path, "adapter_model.safetensors", safetensors({"lora_A.weight": "F32"}))
    assert re.search(r"adapter \(LORA\) of the model some/base.*merge_and_unload", reason(tmp_path))
