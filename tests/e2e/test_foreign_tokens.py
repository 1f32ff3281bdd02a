"""A tokenizer that has more tokens than its model: what the model has no row for never reaches the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import PreTrainedTokenizerFast

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving
from tests.models import VOCAB_SIZE

EXTRA = "<|extra|>"


@pytest.fixture(scope="module")
def larger_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Its only end token is one that the model does not have either."""
    directory = tmp_path_factory.mktemp("models") / "foreign"
    TextModel(directory)
    add_token(directory)
    generation = {"eos_token_id": [VOCAB_SIZE + 5]}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    with serving(directory, "--kv-cache-memory", "16MiB", *ONE_THREAD) as process:
        yield process


def add_token(directory: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    assert tokenizer.add_special_tokens({"additional_special_tokens": [EXTRA]}) == 1
    assert tokenizer.convert_tokens_to_ids(EXTRA) == VOCAB_SIZE
    tokenizer.save_pretrained(directory)


def send(server: ServerProcess, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/{path}", json={"max_tokens": 3} | body, timeout=60)


def test_a_tokenizer_that_has_more_tokens_than_its_model_is_reported_at_the_start(
    larger_tokenizer: ServerProcess,
) -> None:
    [line] = [line for line in larger_tokenizer.output.splitlines() if "WARNING" in line and "tokenizer" in line]
    assert f"1 more tokens than the model, which has {VOCAB_SIZE}" in line
    assert EXTRA in line


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"prompt": f"a{EXTRA}b"}, "prompt"),
        ("completions", {"prompt": f"a{EXTRA}b", "echo": True, "logprobs": 0}, "prompt"),
        ("completions", {"prompt": ["the mill", EXTRA]}, "prompt"),
        ("completions", {"prompt": [1, VOCAB_SIZE]}, "prompt"),
        ("completions", {"prompt": "a", "logit_bias": {str(VOCAB_SIZE): 1}}, "logit_bias"),
        ("completions", {"prompt": "a", "stop_token_ids": [VOCAB_SIZE], "min_tokens": 1}, "stop_token_ids"),
        ("chat/completions", {"messages": [{"role": "user", "content": EXTRA}]}, "messages"),
    ],
)
def test_a_token_that_the_model_does_not_have_is_refused_by_its_name_wherever_it_comes_from(
    larger_tokenizer: ServerProcess, path: str, body: dict[str, Any], param: str
) -> None:
    answer = send(larger_tokenizer, path, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert f"'{param}' has the token id {VOCAB_SIZE}, '{EXTRA}'" in error["message"]


def test_an_end_token_that_the_model_does_not_have_is_left_out(larger_tokenizer: ServerProcess) -> None:
    answer = send(larger_tokenizer, "completions", prompt="a", min_tokens=2)
    assert answer.status_code == httpx.codes.OK
    assert answer.json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("ignore_eos", [False, True])
def test_a_minimum_of_tokens_where_none_may_come_is_refused(larger_tokenizer: ServerProcess, ignore_eos: bool) -> None:
    every = list(range(VOCAB_SIZE))
    answer = send(
        larger_tokenizer, "completions", prompt="a", min_tokens=1, stop_token_ids=every, ignore_eos=ignore_eos
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "min_tokens")
    one_may_come = send(larger_tokenizer, "completions", prompt="a", min_tokens=1, stop_token_ids=every[1:])
    assert one_may_come.status_code == httpx.codes.OK


def test_a_bias_against_every_token_leaves_the_choice_as_it_was(larger_tokenizer: ServerProcess) -> None:
    against_all = {str(token_id): -100 for token_id in range(VOCAB_SIZE)}
    plain, biased = (
        send(larger_tokenizer, "completions", prompt="a", temperature=0, logit_bias=bias).json()["choices"][0]["text"]
        for bias in ({}, against_all)
    )
    assert biased == plain


def test_no_request_has_cost_an_engine(larger_tokenizer: ServerProcess) -> None:
    assert larger_tokenizer.metrics()["millrace_engine_restarts_total"] == 0
