"""Where settings come from, which wins, and what is said about those that are wrong."""

from __future__ import annotations

import ast
import os
import pickle
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app import config as config_module
from app.config import DEFAULTS, DEMO_MODEL, Config, ConfigError, load_config, load_defaults
from app.serve import run
from app.settings import ENV_PREFIX

APP = Path(config_module.__file__).parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in list(os.environ):
        if key.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(key)


def complaint(**overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides)
    return str(caught.value)


# Where settings come from


def test_without_anything_given_the_file_of_defaults_holds() -> None:
    config = load_config({})
    assert config.port == load_defaults()["port"] == 8000
    assert config.model == "demo"
    assert config.max_model_len is None
    assert config.kv_cache_memory is None
    assert config.seed is None


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", "1234")
    monkeypatch.setenv("MILLRACE_KV_CACHE_MEMORY", "2GiB")
    monkeypatch.setenv("MILLRACE_MODEL", "Qwen/Qwen3-0.6B")
    config = load_config({})
    assert (config.port, config.kv_cache_memory, config.model) == (1234, 2 * 2**30, "Qwen/Qwen3-0.6B")


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", "1234")
    monkeypatch.setenv("MILLRACE_HOST", "0.0.0.0")
    config = load_config({"port": "4321"})
    assert (config.port, config.host) == (4321, "0.0.0.0")


def test_the_environment_can_set_back_to_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MAX_MODEL_LEN", "auto")
    monkeypatch.setenv("MILLRACE_KV_CACHE_MEMORY", "auto")
    config = load_config({})
    assert (config.max_model_len, config.kv_cache_memory) == (None, None)


def test_a_misspelt_variable_is_refused_with_the_closest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MAX_MODEL_LENGTH", "12")
    monkeypatch.setenv("MILLRACE_PROT", "12")
    lines = complaint().splitlines()
    assert lines == [
        "MILLRACE_MAX_MODEL_LENGTH is not a setting; did you mean MILLRACE_MAX_MODEL_LEN?",
        "MILLRACE_PROT is not a setting; did you mean MILLRACE_PORT?",
    ]


def test_a_variable_like_no_setting_is_refused_with_all_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_XYZZY", "1")
    message = complaint()
    assert message.startswith("MILLRACE_XYZZY is not a setting")
    assert all(name in message for name in Config.model_fields)


def test_variables_of_other_programs_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("MILL_PORT", "1")
    assert load_config({}).port == 8000


def test_an_unknown_override_is_refused() -> None:
    assert complaint(prot=1).startswith("prot: ")


# Values


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("2GiB", 2 * 2**30),
        ("512MB", 512 * 10**6),
        ("512 MiB", 512 * 2**20),
        ("1.5gib", 3 * 2**29),
        ("3k", 3000),
        ("3Ki", 3072),
        ("1TB", 10**12),
        ("4096", 4096),
        (4096, 4096),
        ("12 B", 12),
        ("auto", None),
    ],
)
def test_sizes_are_read_as_people_write_them(text: object, num_bytes: int | None) -> None:
    assert load_config({"kv_cache_memory": text}).kv_cache_memory == num_bytes


@pytest.mark.parametrize("text", ["lots", "", "-1", "2XB", "GiB", "1e9", "2 G i B", "1.2.3G", "0", 0, "0.1B"])
def test_what_is_not_a_size_is_refused_by_name(text: object) -> None:
    assert complaint(kv_cache_memory=text).startswith("--kv-cache-memory is '")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70000),
        ("port", -1),
        ("port", "http"),
        ("max_queue", -1),
        ("drain_seconds", -1),
        ("drain_seconds", "nan"),
        ("step_timeout", 0),
        ("log_level", "loud"),
        ("device", "gpu"),
        ("device", "cuda:x"),
        ("dtype", "int8"),
        ("max_model_len", 0),
        ("max_model_len", "long"),
        ("max_num_seqs", 0),
        ("max_num_batched_tokens", 0),
        ("block_size", 0),
        ("block_size", 12),
        ("seed", "random"),
        ("chat_template", "/no/such/file"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: object) -> None:
    message = complaint(**{name: value})
    option = f"--{name.replace('_', '-')}"
    assert message.startswith((f"{option} is '{value}'; write ", f"{name}: there is no file {value}"))
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("port", "http", "write a whole number"),
        ("port", 70000, "write a number up to 65535"),
        ("max_queue", "-1", "write a number from 0 on"),
        ("step_timeout", "0", "write a number above 0"),
        ("block_size", "12", "write a multiple of 8"),
        ("dtype", "float9", "write 'auto', 'float32', 'float16' or 'bfloat16'"),
        ("device", "gpu", "write cuda, cuda:1, mps, cpu, or auto"),
        ("log_prompts", "maybe", "write true or false"),
    ],
)
def test_an_impossible_value_is_refused_with_what_would_work(name: str, value: object, remedy: str) -> None:
    assert complaint(**{name: value}) == f"--{name.replace('_', '-')} is '{value}'; {remedy}"


def test_a_value_of_the_environment_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", "http")
    assert complaint() == "MILLRACE_PORT is 'http'; write a whole number"


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 0), ("port", 65535), ("device", "cuda:1"), ("device", "mps"), ("max_queue", 0), ("drain_seconds", 0)],
)
def test_a_value_at_the_edge_is_taken(name: str, value: object) -> None:
    assert getattr(load_config({name: value}), name) == value


def test_every_fault_gets_a_line() -> None:
    lines = complaint(port="x", dtype="int8", block_size=7).splitlines()
    assert sorted(line.split()[0] for line in lines) == ["--block-size", "--dtype", "--port"]


def test_speculation_and_overlap_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="overlap on: speculation"):
        load_config({"overlap": "on", "speculative": "ngram"})


def test_a_budget_smaller_than_the_number_of_sequences_is_refused_and_both_are_named() -> None:
    message = complaint(max_num_batched_tokens=8, max_num_seqs=9)
    assert "max_num_batched_tokens (8)" in message
    assert "max_num_seqs (9)" in message
    assert load_config({"max_num_batched_tokens": 9, "max_num_seqs": 9}).max_num_seqs == 9


def test_a_chat_template_that_exists_is_taken(tmp_path: Path) -> None:
    (tmp_path / "template.jinja").write_text("{{ messages }}")
    assert load_config({"chat_template": str(tmp_path / "template.jinja")}).chat_template is not None


@pytest.mark.parametrize(("content", "reason"), [(b"\xff\xfe", "is not text in UTF-8"), (b"", "is empty")])
def test_a_chat_template_that_is_none_ends_the_start_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "template"
    file.write_bytes(content)
    assert str(run(load_config({"chat_template": file, "port": 0}))).startswith(f"{file} {reason}")


def test_keys_that_cannot_be_read_end_the_start_before_the_model_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    reason = run(load_config({"api_keys_file": file, "port": 0, "model": str(tmp_path)}))
    assert reason == f"{file} cannot be read: No such file or directory"


def test_a_model_that_is_written_as_a_path_must_be_there(tmp_path: Path) -> None:
    missing = f"{tmp_path}/nothing"
    with pytest.raises(ConfigError, match=f"model: there is no directory {missing}"):
        load_config({"model": missing})


def test_a_configuration_is_frozen() -> None:
    config = load_config({})
    with pytest.raises(ValidationError, match="frozen"):
        config.port = 1  # type: ignore[misc]


def test_a_configuration_crosses_to_another_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config({"port": 1234, "kv_cache_memory": "2GiB"})
    monkeypatch.setenv("MILLRACE_PORT", "4321")
    assert pickle.loads(pickle.dumps(config)) == config


# The model's name


def test_the_demo_has_a_name_of_its_own_and_lies_in_the_package() -> None:
    config = load_config({})
    assert config.model_name == "millrace-demo"
    assert config.model_path == str(DEMO_MODEL)


def test_a_directory_is_called_by_its_last_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "my-model"
    directory.mkdir()
    for path in (str(directory), f"{directory}/"):
        assert load_config({"model": path}).model_name == "my-model"
    monkeypatch.chdir(directory)
    assert load_config({"model": "."}).model_name == "my-model"
    assert load_config({"model": "."}).model_path == "."


def test_a_hub_id_is_the_name_as_it_stands() -> None:
    config = load_config({"model": "Qwen/Qwen3-0.6B"})
    assert config.model_name == config.model_path == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize("model", ["demo", "Qwen/Qwen3-0.6B", "."])
def test_a_given_name_wins(model: str) -> None:
    assert load_config({"model": model, "served_model_name": "gpt-5"}).model_name == "gpt-5"


# Nothing rots, nothing is ignored


def test_the_file_of_defaults_gives_or_mentions_every_setting_and_nothing_else() -> None:
    given = set(load_defaults())
    mentioned = set(re.findall(r"\w+", DEFAULTS.read_text()))
    assert given <= set(Config.model_fields)
    assert set(Config.model_fields) <= mentioned
    assert {name for name, field in Config.model_fields.items() if field.is_required()} == given


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Config.model_fields.items() if not field.description] == []


def test_every_setting_is_read_by_something() -> None:
    """A setting that changes nothing would be a promise broken in silence."""
    read = _attributes_of_self_in_properties(APP / "config.py")
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1].lstrip("_") == "config":
                read.add(node.attr)
    assert set(Config.model_fields) - read == set()


def _attributes_of_self_in_properties(path: Path) -> set[str]:
    properties = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and "property" in map(ast.unparse, node.decorator_list)
    ]
    return {node.attr for each in properties for node in ast.walk(each) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize(
    ("given", "has_driver", "limits"),
    [
        ({"device": "cpu"}, True, (64, 512)),
        ({"device": "cuda:1"}, False, (256, 8192)),
        ({"device": "auto"}, True, (256, 8192)),
        ({"device": "auto"}, False, (64, 512)),
        ({"device": "cuda", "max_num_seqs": "8"}, True, (8, 8192)),
    ],
    ids=str,
)
def test_a_gpu_is_given_more_at_once_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, object], has_driver: bool, limits: tuple[int, int]
) -> None:
    monkeypatch.setattr("app.config.NVIDIA_DRIVER", tmp_path if has_driver else tmp_path / "none")
    config = load_config(given)
    assert (config.max_num_seqs, config.max_num_batched_tokens) == limits
