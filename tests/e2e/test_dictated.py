"""The dictated model says what it was made to say, the way any client would ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.dictated import END, Dictated, dictating

ANSWERS = ["Hello 日本", b"\xe6", f"one{END}two", "<think>hm</think>yes"]


@pytest.fixture(scope="module")
def dictated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dictated]:
    with dictating(tmp_path_factory.mktemp("dictated"), ANSWERS) as dictated:
        yield dictated


@pytest.mark.parametrize("temperature", [0, 2])
def test_each_prompt_has_its_answer(dictated: Dictated, temperature: float) -> None:
    texts = []
    for answer in ANSWERS:
        body = {"prompt": dictated.prompt(answer), "max_tokens": 100, "temperature": temperature}
        response = httpx.post(f"{dictated.url}/v1/completions", json=body)
        [choice] = response.json()["choices"]
        assert choice["finish_reason"] == "stop"
        texts.append(choice["text"])
    assert texts == ["Hello 日本", "\ufffd", "one", "<think>hm</think>yes"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_chat_has_the_same_answers(dictated: Dictated, is_begun: bool) -> None:
    body = {"messages": dictated.messages(ANSWERS[3]), "chat_template_kwargs": {"enable_thinking": is_begun}}
    answer = httpx.post(f"{dictated.url}/v1/chat/completions", json=body).json()
    message = answer["choices"][0]["message"]
    assert message["content"] == "yes"
    assert message["reasoning_content"].endswith("hm")
    assert answer["usage"]["prompt_tokens"] == len(dictated.prompt(ANSWERS[3]))
