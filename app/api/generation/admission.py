"""Whether a request can be served: everything wrong with it in one error, or its prompts as the engine takes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.api.errors import Fault, invalid
from app.api.excerpts import counted
from app.api.generation.constraint_checks import ConstraintChecks
from app.api.generation.constraints import check_constraint
from app.api.generation.cost import Cost
from app.api.generation.encoding import Echo, encode
from app.api.generation.faults import limit_faults, model_faults, vocabulary_faults
from app.api.generation.request import GenerationRequest
from app.api.request_limits import RequestLimits
from app.messages import Constraint, EngineReady
from app.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from app.api.gate.rate_limits import Ticket

SEED_BITS = 63


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt that the engine can take. Its choices derive their seeds from `seed`, and end at `stop_token_ids`."""

    token_ids: list[int]
    max_tokens: int
    seed: int
    stop_token_ids: frozenset[int]
    constraint: Constraint | None = None
    echo: Echo | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request is held against: the model that is loaded and the server's limits. `seeds` draws a seed for each
    prompt of a request that brings none. `constraints` keeps what requests of the same `owner` are held to.
    """

    tokenizer: Tokenizer
    ready: EngineReady
    limits: RequestLimits
    seeds: random.Random
    constraints: ConstraintChecks
    owner: str

    async def admit(self, request: GenerationRequest) -> list[Prompt]:
        """The prompts as the engine can take them. Raises the 400 that describes every fault of the request.

        A given seed is the same for every prompt, each of which then produces what it would produce alone.
        """
        faults = [*limit_faults(request, self.limits), *model_faults(request, self.tokenizer, self.ready)]
        if request.num_prompts > self.limits.max_sequences:  # too many to be worth encoding
            raise invalid(faults)
        encoded = await encode(request, self.tokenizer, self.ready.max_total_tokens)
        fitting, others = ([], [encoded]) if isinstance(encoded, Fault) else self._fit(encoded, request)
        first = [] if isinstance(encoded, Fault) else encoded[0]
        constraint = await check_constraint(request, first, self.tokenizer, self.constraints, self.owner)
        faults += [*others, *([constraint] if isinstance(constraint, Fault) else [])]
        if isinstance(encoded, Fault) or isinstance(constraint, Fault) or faults:
            raise invalid(faults)
        stop_token_ids = self._stop_token_ids(request)
        seed = None if request.seed is None else request.seed % 2**SEED_BITS
        return [
            Prompt(token_ids, max_tokens, self._draw() if seed is None else seed, stop_token_ids, constraint)
            for token_ids, max_tokens in zip(encoded, fitting, strict=True)
        ]

    def _draw(self) -> int:
        return self.seeds.getrandbits(SEED_BITS)

    def _stop_token_ids(self, request: GenerationRequest) -> frozenset[int]:
        """What ends a sequence. A model may be published with end tokens that it has no rows for: those never come."""
        vocab_size = self.ready.vocab_size
        own = () if request.ignore_eos else (end for end in self.tokenizer.eos_token_ids if end < vocab_size)
        return frozenset((*request.stop_token_ids, *own))

    def _fit(self, encoded: Seq[list[int]], request: GenerationRequest) -> tuple[list[int], list[Fault]]:
        """How many tokens may follow each prompt, and what is wrong with the prompts and their lengths."""
        faults = [*self._token_faults(encoded, request)]
        cost = Cost.of(encoded, request)
        affordable = cost.max_output_tokens(self.limits.max_values)
        found = [self._max_tokens(len(token_ids), request, affordable) for token_ids in encoded]
        fitting = [each for each in found if isinstance(each, int)]
        if misfit := next((each for each in found if isinstance(each, Fault)), None):
            faults.append(misfit)
        elif fault := cost.fault(max(fitting), self.limits.max_values, request.names):
            faults.append(fault)
        return fitting, faults

    def _token_faults(self, encoded: Seq[list[int]], request: GenerationRequest) -> Iterator[Fault]:
        for token_ids in encoded:
            yield from vocabulary_faults(request.names.prompt, token_ids, self.tokenizer, self.ready)
        if request.min_tokens and len(self._stop_token_ids(request)) == self.ready.vocab_size:
            names = request.names
            message = f"'{names.min_tokens}' is {request.min_tokens}, but every token of the model is a stop token, so"
            remedy = f"Leave some out of '{names.stop_token_ids}', or leave '{names.min_tokens}' out."
            yield Fault(f"{message} none may come. {remedy}", names.min_tokens)

    def _max_tokens(self, num_prompt_tokens: int, request: GenerationRequest, affordable: int) -> int | Fault:
        """How many tokens may follow the prompt: as many as are asked for if they fit, else what fits of the default.

        The default is at most what is `affordable`, if that is anything.

        Nothing that cannot fit the model's length, or the whole cache, gets past this. Even an answer of no tokens
        needs room for one: no run of the engine is shorter.
        """
        names, wanted = request.names, request.max_tokens
        if num_prompt_tokens == 0:
            return Fault(f"'{names.prompt}' is empty: it has no tokens.", names.prompt)
        limit = self.ready.max_total_tokens
        room = limit - num_prompt_tokens
        if room < (wanted or 1):
            return _too_long(num_prompt_tokens, request, limit)
        if wanted is None:
            wanted = min(room, request.default_max_tokens or room, max(affordable, 1))
        if request.min_tokens > wanted:
            message = f"'{names.min_tokens}' is {request.min_tokens}, more than the {counted(wanted, 'token')} allowed."
            return Fault(message, names.min_tokens)
        return wanted


def _too_long(num_prompt_tokens: int, request: GenerationRequest, limit: int) -> Fault:
    field, wanted = request.names.max_tokens, request.max_tokens
    asked = f"{field} was not given" if wanted is None else f"{field} is {wanted}"
    room = limit - num_prompt_tokens
    remedy = (
        f"The largest {field} that fits is {room}."
        if room > 0
        else f"Send at most {counted(limit - 1, 'prompt token')}."
    )
    message = (
        f"The prompt has {counted(num_prompt_tokens, 'token')} and {asked}; together they may be "
        f"{counted(limit, 'token')}. {remedy}"
    )
    is_alone_too_long = wanted is not None and wanted >= limit
    return Fault(message, field if is_alone_too_long else request.names.prompt, "context_length_exceeded")


def reserve(prompts: list[Prompt], request: GenerationRequest, ticket: Ticket) -> list[Prompt]:
    """Take from the key's limits a place for each sequence, and the tokens of the prompts and of all that their outputs
    may have. Raises RateLimited. Returns the prompts as they may be answered.

    Where the request does not say how long an output may be, it may be as long as the model allows, but no longer than
    the limit of a whole minute allows. That limit does not depend on the moment, so the same request always gets the
    same answer.
    """
    num_sequences = len(prompts) * request.num_choices
    num_prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
    hint = ""
    if request.max_tokens is None and ticket.tokens_per_minute is not None:
        field = request.names.max_tokens
        hint = f" '{field}' was not given, so that all that the answer may have is reserved; less is taken sooner."
        most = max((ticket.tokens_per_minute - num_prompt_tokens) // num_sequences, request.min_tokens, 1)
        prompts = [replace(prompt, max_tokens=min(prompt.max_tokens, most)) for prompt in prompts]
    num_output_tokens = request.num_choices * sum(prompt.max_tokens for prompt in prompts)
    ticket.reserve(num_sequences, num_prompt_tokens + num_output_tokens, hint)
    return prompts
