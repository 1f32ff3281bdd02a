"""What is wrong with a request as far as its fields alone show: the server's limits, and what the model lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from app.api.errors import Fault
from app.api.excerpts import counted, shortened
from app.api.generation.constraints import end_faults
from app.api.generation.request import Conversation, GenerationRequest
from app.api.request_limits import MAX_NAMED_TOKENS, MAX_STOP_CHARACTERS, RequestLimits
from app.messages import EngineReady
from app.text.tokenizer import Tokenizer


def limit_faults(request: GenerationRequest, limits: RequestLimits) -> Iterator[Fault]:
    """Where the request asks for more than any one request may."""
    names, num_sequences = request.names, request.num_sequences
    if num_sequences > limits.max_sequences:
        asked = f"{counted(request.num_prompts, 'prompt')} with {names.num_choices} = {request.num_choices}"
        message = (
            f"{asked} would be {counted(num_sequences, 'sequence')} in one request; this server allows "
            f"{limits.max_sequences} ({limits.max_sequences_setting})."
        )
        yield Fault(message, names.num_choices if request.num_prompts == 1 else names.prompt)
    if len(request.stop) > limits.max_stop_strings:
        count = counted(len(request.stop), "string")
        message = f"'{names.stop}' has {count}; this server allows {limits.max_stop_strings} (max_stop_strings)."
        yield Fault(message, names.stop)
    if (length := sum(map(len, request.stop))) > MAX_STOP_CHARACTERS:
        message = f"'{names.stop}' has {length:,} characters in all; {MAX_STOP_CHARACTERS:,} are allowed."
        yield Fault(message, names.stop)
    logprobs = ((names.prompt_logprobs, request.prompt_logprobs), (names.logprobs, request.num_logprobs))
    for name, count_of_logprobs in logprobs:
        if count_of_logprobs is not None and count_of_logprobs > limits.max_logprobs:
            message = f"'{name}' is {count_of_logprobs}; this server allows {limits.max_logprobs} (max_logprobs)."
            yield Fault(message, name)
    for name, token_ids in _named_tokens(request):
        if num_sequences * len(token_ids) > MAX_NAMED_TOKENS:
            count = f"{counted(len(token_ids), 'token')} for each of {counted(num_sequences, 'sequence')}"
            together = num_sequences * len(token_ids)
            yield Fault(f"'{name}' has {count}: {together:,} in all; {MAX_NAMED_TOKENS:,} are allowed.", name)


def model_faults(request: GenerationRequest, tokenizer: Tokenizer, ready: EngineReady) -> Iterator[Fault]:
    """Where the request asks for what this model does not have, whatever its prompts are."""
    if isinstance(request.prompts, Conversation) and request.prompts.tools and not tokenizer.reply_format.calls_tools:
        yield Fault(_no_tools(tokenizer), request.names.tools, "tools_not_supported")
    yield from end_faults(request, tokenizer, ready)
    for name, token_ids in _named_tokens(request):
        yield from vocabulary_faults(name, token_ids, tokenizer, ready)


def _no_tools(tokenizer: Tokenizer) -> str:
    if not tokenizer.reply_format.shows_tools:
        return (
            "This model's chat template does not show tools to the model. Leave 'tools' out, or start the server with "
            "a template that shows them as --chat-template FILE."
        )
    return (
        "This model's chat template writes calls in a form that this server does not read. It reads JSON objects or "
        "lists, names in markup with JSON or tagged parameters behind them, Python calls, and harmony's channels."
    )


def vocabulary_faults(
    field: str, token_ids: Collection[int], tokenizer: Tokenizer, ready: EngineReady
) -> Iterator[Fault]:
    """Token ids that the model has no row for. They may come from a tokenizer, which can have more than its model."""
    last = ready.vocab_size - 1
    for extreme in {min(token_ids), max(token_ids)} if token_ids else ():
        if not 0 <= extreme <= last:
            token = f"the token id {shortened(str(extreme))}{_named(extreme, tokenizer)}"
            yield Fault(f"'{field}' has {token}; ids of this model are 0 to {last}.", field)


def _named_tokens(request: GenerationRequest) -> tuple[tuple[str, Collection[int]], ...]:
    names = request.names
    bias = [token_id for token_id, _ in request.sampling.logit_bias]
    return (names.stop_token_ids, request.stop_token_ids), (names.logit_bias, bias)


def _named(token_id: int, tokenizer: Tokenizer) -> str:
    text = tokenizer.token_text(token_id) if 0 <= token_id < tokenizer.end_of_ids else ""
    return f", {shortened(repr(text))}," if text else ""
