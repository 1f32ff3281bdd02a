"""What a request does not say of sampling is what the model's makers say in generation_config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.api.run import check_sampling_defaults, load_tokenizer
from app.checkpoint.files import BadCheckpoint
from app.config import Config
from app.messages import SamplingParams
from app.text.tokenizer import Tokenizer
from tests.scripted_engine import ScriptedEngine, byte_tokenizer, ids, make_app, started


@pytest.fixture
def model(tmp_path: Path) -> Path:
    byte_tokenizer()._tokenizer.save_pretrained(tmp_path)
    said = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "max_length": 99, "min_p": None}
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    return tmp_path


async def params_of(model: Path, **body: Any) -> SamplingParams:
    engine = ScriptedEngine(ids("k"))
    async with started(make_app(engine, load_tokenizer=lambda: Tokenizer.load(str(model)))) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a", **body})
    assert answer.status_code == 200
    return engine.submissions[0].params


async def test_a_model_says_how_it_is_sampled_best(model: Path) -> None:
    params = await params_of(model)
    assert (params.temperature, params.top_p, params.top_k) == (0.6, 0.9, 20)
    assert (params.min_p, params.repetition_penalty) == (0.0, 1.0), "it says nothing of these"


async def test_what_a_request_says_comes_first(model: Path) -> None:
    params = await params_of(model, temperature=0, top_p=1, top_k=None)
    assert (params.temperature, params.top_p, params.top_k) == (0.0, 1.0, 20)


async def test_a_model_that_says_nothing_is_sampled_as_openai_does(model: Path) -> None:
    (model / "generation_config.json").unlink()
    params = await params_of(model)
    assert (params.temperature, params.top_p, params.top_k) == (1.0, 1.0, 0)


def test_defaults_that_a_request_could_name_are_taken() -> None:
    check_sampling_defaults("m", {"temperature": 0.6, "top_k": 20, "min_p": None})


def say(model: Path, **fields: Any) -> None:
    path = model / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


async def test_a_model_that_is_published_to_be_greedy_is_greedy_unless_a_request_says_otherwise(model: Path) -> None:
    say(model, do_sample=False)
    assert (await params_of(model)).temperature == 0.0
    params = await params_of(model, temperature=0.7)
    assert (params.temperature, params.top_p) == (0.7, 0.9)


async def test_a_whole_number_is_one_however_it_is_written(model: Path) -> None:
    say(model, top_k=20.0)
    top_k = (await params_of(model)).top_k
    assert (top_k, type(top_k)) == (20, int)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 3.5),
        ("temperature", "0.6"),
        ("temperature", float("nan")),
        ("top_p", 1.5),
        ("top_k", 20.5),
        ("top_k", -2),
        ("min_p", True),
        ("repetition_penalty", 0),
    ],
)
def test_what_no_request_may_say_is_refused_at_the_start_by_file_and_field(
    field: str, value: object, model: Path
) -> None:
    say(model, **{field: value})
    with pytest.raises(
        BadCheckpoint, match=rf"generation_config.json of {model}: {field} is {value!r}: .*; correct it"
    ):
        load_tokenizer(Config(model=str(model)), None)  # type: ignore[call-arg]
