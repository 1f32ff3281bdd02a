"""Logprobs in the three shapes that clients know. Since there may be very many, they are made while they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq

from app.api.generation.choices import ScoredToken
from app.api.generation.dialect import Json
from app.messages import TokenLogprobs
from app.text.tokenizer import Tokenizer

MIN_LOGPROB = -9999.0
"""What OpenAI reports for a token that cannot come; JSON has no infinity."""


def completion_logprobs(tokens: list[ScoredToken], num_top: int, tokenizer: Tokenizer) -> Json:
    """Columns, as in OpenAI's completions. The chosen token is always among its alternatives, under its own name."""
    return {
        "tokens": (tokenizer.token_name(token.token_id) for token in tokens),
        "token_logprobs": (None if token.logprob is None else _finite(token.logprob) for token in tokens),
        "top_logprobs": (_alternatives(token, num_top, tokenizer) for token in tokens) if num_top else None,
        "text_offset": (token.offset for token in tokens),
    }


def _alternatives(token: ScoredToken, num_top: int, tokenizer: Tokenizer) -> dict[str, float] | None:
    """Logprobs by token name. Of two tokens with the same name (a letter, and the byte token of that letter) the second
    is called `token_id:…`; the chosen token keeps its name.
    """
    if token.logprob is None:
        return None
    alternatives: dict[str, float] = {}
    owners = {tokenizer.token_name(token.token_id): token.token_id}
    for token_id, logprob in (*token.top[:num_top], (token.token_id, token.logprob)):
        name = tokenizer.token_name(token_id)
        is_its_own = owners.setdefault(name, token_id) == token_id
        alternatives[name if is_its_own else f"token_id:{token_id}"] = _finite(logprob)
    return alternatives


def chat_logprobs(tokens: list[ScoredToken], num_top: int, tokenizer: Tokenizer) -> Json:
    """One object for each token, as in OpenAI's chat completions."""

    def entry(token_id: int, logprob: float | None) -> Json:
        return {
            "token": tokenizer.token_text(token_id),
            "logprob": None if logprob is None else _finite(logprob),
            "bytes": list(tokenizer.token_bytes(token_id)),
        }

    content = (
        entry(token.token_id, token.logprob) | {"top_logprobs": [entry(*best) for best in token.top[:num_top]]}
        for token in tokens
    )
    return {"content": content, "refusal": None}


def prompt_logprobs(tokens: Seq[TokenLogprobs], num_top: int, tokenizer: Tokenizer) -> Iterator[Json | None]:
    """The prompt's tokens by id, as vLLM reports them; nothing precedes the first. `rank` is only known for the top
    tokens.
    """
    yield None
    for token in tokens:
        best = token.top[:num_top]
        ranks = {token_id: rank for rank, (token_id, _) in enumerate(best, start=1)}
        yield {
            str(token_id): {
                "logprob": _finite(logprob),
                "rank": ranks.get(token_id),
                "decoded_token": tokenizer.token_text(token_id),
            }
            for token_id, logprob in dict([(token.token_id, token.logprob), *best]).items()
        }


def _finite(logprob: float) -> float:
    return max(logprob, MIN_LOGPROB)
