"""Real models, 16 prompts at once over HTTP: the greedy text is what `transformers.generate` gives to each alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel

from app.demo.answer import QUESTIONS, answers
from tests.e2e.directories import DEMO, STORIES
from tests.e2e.server import ONE_THREAD, ServerProcess, serving
from tests.e2e.streams import Read, read_streamed, read_whole

MAX_TOKENS = 32
PROMPTS = [
    "Once upon a time",
    "Once upon a time, there was a little girl named Lily.",
    "One day, a big dog",
    "The cat sat on the",
    "Tom and Sam went to the park. They",
    "A bird was sad because",
    '"Hello," said the',
    "Mom said,",
    "The sun",
    "Ben had a red ball. He liked to",
    "  Two spaces before",
    "It was a dark night and the wind",
    "Where do models keep what they have read?",
    "L'été, un café… 猫 🐈",
    "1, 2, 3,",
    "x",
]


class RealModel:
    """A directory, and transformers' own eager model of it in float32."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        )

    def continuation(self, prompt: str) -> tuple[str, str]:
        """The text that follows, without the end token, and the finish reason.

        A tokenizer may strip the space a text begins with, so the text is what decoding adds to that of the prompt.
        """
        ids = self.tokenizer.encode(prompt).ids
        output = self._model.generate(torch.tensor([ids]), max_new_tokens=MAX_TOKENS, do_sample=False, pad_token_id=0)
        whole = output[0].tolist()
        stopped = whole[-1] in self._end_tokens
        text: str = self.tokenizer.decode(whole)
        return text[len(self.tokenizer.decode(ids)) :], "stop" if stopped else "length"

    @property
    def _end_tokens(self) -> list[int]:
        eos = self._model.generation_config.eos_token_id
        return eos if isinstance(eos, list) else [eos]


@pytest.fixture(scope="module", params=[STORIES, DEMO], ids=["stories260K", "demo"])
def real_model(request: pytest.FixtureRequest) -> RealModel:
    directory: Path = request.param
    if not (directory / "model.safetensors").exists():
        pytest.skip(f"there is no {directory.parent.name}/{directory.name} here")
    return RealModel(directory)


@pytest.fixture(scope="module")
def real_server(real_model: RealModel) -> Iterator[ServerProcess]:
    with serving(real_model.directory, "--dtype", "float32", "--kv-cache-memory", "64MiB", *ONE_THREAD) as process:
        yield process
        print(process.output)


@pytest.fixture(scope="module")
def expected(real_model: RealModel) -> list[tuple[str, str]]:
    return [real_model.continuation(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("read", [read_streamed, read_whole], ids=["streamed", "whole"])
async def test_sixteen_prompts_at_once_give_the_text_of_transformers(
    real_server: ServerProcess, expected: list[tuple[str, str]], read: Read
) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        bodies = [{"prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0} for prompt in PROMPTS]
        answers = await asyncio.gather(*(read(client, real_server.url, body) for body in bodies))
    assert answers == expected
    assert len({text for text, _ in answers}) > 12, "the prompts say different things"


@pytest.mark.parametrize("real_model", [DEMO], ids=["demo"], indirect=True)
def test_questions_are_answered_as_plain_transformers_answers_them(real_server: ServerProcess) -> None:
    """With its own template and tokenizer, loaded from the directory and from nothing else."""
    for question, answer in answers(DEMO, QUESTIONS, torch.float32):
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0}
        reply = httpx.post(f"{real_server.url}/v1/chat/completions", json=body, timeout=60).json()
        assert reply["choices"][0]["message"]["content"] == answer
