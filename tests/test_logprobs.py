"""Logprobs by the names of tokens, which may be shared."""

from __future__ import annotations

from app.api.generation.choices import ScoredToken
from app.api.openai.logprobs import completion_logprobs
from tests.scripted_engine import VOCAB_SIZE, byte_tokenizer

NAMELESS = range(VOCAB_SIZE - 3, VOCAB_SIZE)
"""Rows of the model that the vocabulary does not have: none of them has a text."""


def test_of_tokens_with_one_name_the_chosen_one_keeps_it_and_each_has_its_own_number() -> None:
    first, second, chosen = NAMELESS
    token = ScoredToken(chosen, 0, -4.0, ((ord("a"), -0.5), (first, -1.0), (second, -2.0)))
    [top] = completion_logprobs([token], 3, byte_tokenizer())["top_logprobs"]
    assert top == {"a": -0.5, f"token_id:{first}": -1.0, f"token_id:{second}": -2.0, "": -4.0}


def test_a_token_that_is_chosen_and_likely_is_named_once() -> None:
    token = ScoredToken(0xE6, 0, -0.5, ((0xE6, -0.5), (0xFF, -1.0)))
    columns = completion_logprobs([token], 2, byte_tokenizer())
    assert list(columns["tokens"]) == ["bytes:\\xe6"]
    assert list(columns["top_logprobs"]) == [{"bytes:\\xe6": -0.5, "bytes:\\xff": -1.0}]
