"""What the loaded model allows: token ids in its vocabulary, and prompts that leave room to answer."""

from __future__ import annotations

import random
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.errors import ApiError, invalid
from app.api.schemas.sampling import SamplingFields
from app.messages import EngineReady

SEED_BITS = 63


@dataclass(frozen=True, slots=True)
class Echo:
    """The text of a prompt that is to be sent back, and where in it each token begins."""

    text: str
    offsets: Seq[int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt that the engine can take. All its choices draw their seeds from `seed`."""

    token_ids: list[int]
    max_tokens: int
    seed: int
    echo: Echo | None = None


def most_tokens(ready: EngineReady) -> int:
    """Of a prompt and its output together: what fits the model's length, and the whole cache."""
    return min(ready.max_model_len, ready.num_cache_tokens)


def check_token_ids(token_ids: Iterable[int], vocab_size: int, param: str) -> None:
    """Refuse ids that the model has no row for."""
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            message = f"'{param}' has the token id {token_id}; ids of this model are 0 to {vocab_size - 1}."
            raise invalid(message, param)


def admit(
    encoded: list[tuple[list[int], Echo | None]],
    body: SamplingFields,
    ready: EngineReady,
    seeds: random.Random,
    param: str,
) -> list[Prompt]:
    """The prompts as the engine may have them, or a 400 about the first that it may not.

    A given seed is the same for every prompt, which then gives what it would have given alone; without one each
    prompt draws its own from `seeds`.
    """
    check_token_ids(body.stop_token_ids, ready.vocab_size, "stop_token_ids")
    check_token_ids(body.logit_bias, ready.vocab_size, "logit_bias")
    prompts = []
    for token_ids, echo in encoded:
        seed = seeds.getrandbits(SEED_BITS) if body.seed is None else body.seed % 2**SEED_BITS
        prompts.append(Prompt(token_ids, _fit_max_tokens(len(token_ids), body, ready, param), seed, echo))
    return prompts


def _fit_max_tokens(num_prompt_tokens: int, body: SamplingFields, ready: EngineReady, param: str) -> int:
    """How many tokens may follow the prompt: what was asked for if it fits, else what fits of the default.

    Nothing that cannot fit the model's length, or the whole cache, gets past here. Even an answer of no tokens
    needs room for one: the engine's shortest run.
    """
    if num_prompt_tokens == 0:
        raise invalid(f"'{param}' is empty: it has no tokens.", param)
    limit = most_tokens(ready)
    room = limit - num_prompt_tokens
    field, wanted = body.wanted_tokens
    if room < (wanted or 1):
        raise _too_long(num_prompt_tokens, field, wanted, limit, param)
    if wanted is None:
        wanted = room if body.default_max_tokens is None else min(body.default_max_tokens, room)
    if body.min_tokens > wanted:
        raise invalid(f"'min_tokens' is {body.min_tokens}, more than the {wanted} tokens allowed.", "min_tokens")
    return wanted


def _too_long(num_prompt_tokens: int, field: str, wanted: int | None, limit: int, param: str) -> ApiError:
    asked = f"{field} was not given" if wanted is None else f"{field} is {wanted}"
    room = limit - num_prompt_tokens
    remedy = f"The largest {field} that fits is {room}." if room > 0 else f"Send at most {limit - 1} prompt tokens."
    message = f"The prompt has {num_prompt_tokens} tokens and {asked}; together they may be {limit} tokens. {remedy}"
    return invalid(message, param, "context_length_exceeded")
