"""What the loaded model allows: token ids in its vocabulary, and prompts that leave room to answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.errors import ApiError, Fault, invalid, invalid_fields, refuse
from app.api.generation.cost import Account
from app.api.openai.schemas.base import shortened
from app.api.openai.schemas.sampling import SamplingFields
from app.api.request_limits import Limits
from app.messages import EngineReady
from app.text.tokenizer import Tokenizer

SEED_BITS = 63


@dataclass(frozen=True, slots=True)
class Echo:
    """The text of a prompt that is to be sent back, and where in it each token begins."""

    text: str
    offsets: Seq[int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt that the engine can take. Its choices draw their seeds from `seed`, and end at `stop_token_ids`."""

    token_ids: list[int]
    max_tokens: int
    seed: int
    stop_token_ids: frozenset[int]
    echo: Echo | None = None


def admit(
    encoded: Seq[list[int]],
    body: SamplingFields,
    tokenizer: Tokenizer,
    ready: EngineReady,
    seeds: random.Random,
    limits: Limits,
    param: str,
) -> list[Prompt]:
    """The prompts, which stand in the field `param`, as the engine may have them; or a 400 that says why it may not.

    A given seed is the same for every prompt, which then gives what it would have given alone; without one each
    prompt draws its own from `seeds`.
    """
    stop_token_ids = _stop_token_ids(body, tokenizer, ready)
    refuse(_token_faults(encoded, body, tokenizer, ready, param))
    if body.min_tokens and len(stop_token_ids) == ready.vocab_size:
        message = f"'min_tokens' is {body.min_tokens}, but every token of the model is a stop token, so none may come."
        raise invalid(f"{message} Leave some out of 'stop_token_ids', or leave 'min_tokens' out.", "min_tokens")
    account = Account.of(encoded, body)
    affordable = account.most_output_tokens(limits.max_values)
    fitting = [_fit_max_tokens(len(token_ids), body, ready, affordable, param) for token_ids in encoded]
    if fault := account.fault(max(fitting), limits.max_values, body.wanted_tokens[0]):
        raise invalid_fields([fault])
    prompts = []
    for token_ids, max_tokens in zip(encoded, fitting, strict=True):
        seed = seeds.getrandbits(SEED_BITS) if body.seed is None else body.seed % 2**SEED_BITS
        prompts.append(Prompt(token_ids, max_tokens, seed, stop_token_ids))
    return prompts


def _stop_token_ids(body: SamplingFields, tokenizer: Tokenizer, ready: EngineReady) -> frozenset[int]:
    """What ends a sequence: a model may be published with end tokens that it has no rows for, which never come."""
    own = () if body.ignore_eos else (end for end in tokenizer.eos_token_ids if end < ready.vocab_size)
    return frozenset((*body.stop_token_ids, *own))


def _token_faults(
    encoded: Seq[list[int]], body: SamplingFields, tokenizer: Tokenizer, ready: EngineReady, param: str
) -> Iterator[Fault]:
    """Tokens that the model has no row for, wherever they come from: a tokenizer, too, may have more than its model."""
    last = ready.vocab_size - 1
    fields = [(param, token_ids) for token_ids in encoded]
    for name, token_ids in (*fields, ("stop_token_ids", body.stop_token_ids), ("logit_bias", body.logit_bias)):
        for extreme in {min(token_ids), max(token_ids)} if token_ids else ():
            if not 0 <= extreme <= last:
                token = f"the token id {shortened(str(extreme))}{_named(extreme, tokenizer)}"
                yield Fault(f"'{name}' has {token}; ids of this model are 0 to {last}.", name)


def _named(token_id: int, tokenizer: Tokenizer) -> str:
    text = tokenizer.token_text(token_id) if 0 <= token_id < tokenizer.end_of_ids else ""
    return f", {shortened(repr(text))}," if text else ""


def _fit_max_tokens(
    num_prompt_tokens: int, body: SamplingFields, ready: EngineReady, affordable: int, param: str
) -> int:
    """How many tokens may follow the prompt: what was asked for if it fits, else what fits of the default.

    The default is no more than what is `affordable`, if that is anything.

    Nothing that cannot fit the model's length, or the whole cache, gets past here. Even an answer of no tokens
    needs room for one: the engine's shortest run.
    """
    if num_prompt_tokens == 0:
        raise invalid(f"'{param}' is empty: it has no tokens.", param)
    limit = ready.max_total_tokens
    room = limit - num_prompt_tokens
    field, wanted = body.wanted_tokens
    if room < (wanted or 1):
        raise _too_long(num_prompt_tokens, field, wanted, limit, param)
    if wanted is None:
        wanted = min(room, body.default_max_tokens or room, max(affordable, 1))
    if body.min_tokens > wanted:
        raise invalid(f"'min_tokens' is {body.min_tokens}, more than the {wanted} tokens allowed.", "min_tokens")
    return wanted


def _too_long(num_prompt_tokens: int, field: str, wanted: int | None, limit: int, param: str) -> ApiError:
    asked = f"{field} was not given" if wanted is None else f"{field} is {wanted}"
    room = limit - num_prompt_tokens
    remedy = f"The largest {field} that fits is {room}." if room > 0 else f"Send at most {limit - 1} prompt tokens."
    message = f"The prompt has {num_prompt_tokens} tokens and {asked}; together they may be {limit} tokens. {remedy}"
    return invalid(message, param, "context_length_exceeded")
