"""What the answers of a request are held to: the form of an answer, calls of tools, and free reasoning before both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.api.errors import Fault
from app.api.generation.constraint_checks import Checked, ConstraintChecks
from app.api.generation.opening import is_behind_reasoning, opening
from app.api.generation.request import Conversation, GenerationRequest
from app.constraints.calls import CallableTool
from app.constraints.check import check
from app.constraints.errors import ConstraintError
from app.constraints.reply import Calls, Thinking, compile_reply
from app.messages import Constraint, ConstraintKind, EngineReady
from app.text.tokenizer import Tokenizer

_ANY_OBJECT = '{"type":"object"}'

_ENDS_THINKING = ("enable_thinking", "thinking")
"""Variables by which templates of published models leave reasoning out."""


@dataclass(frozen=True, slots=True)
class AskedConstraint:
    """What a request asks for: the form of its answers, and which tools they may or must call.

    `field` and `tools_field` are what errors name.
    """

    answer: Constraint | None
    calls: Calls | None
    thinking: Thinking
    field: str
    tools_field: str


def asked_constraint(
    request: GenerationRequest, tokenizer: Tokenizer, token_ids: Sequence[int]
) -> AskedConstraint | None:
    """What is asked of the answers to a prompt; None if nothing is."""
    calls = request.calls
    if calls is not None and not tokenizer.reply_format.calls_tools:
        calls = None  # reported as a fault of its own
    if calls is not None and request.ignore_eos and not _must_hold(calls):
        calls = None  # an answer without an end
    if request.constraint is None and calls is None:
        return None
    thinking = Thinking.OVER
    if isinstance(request.prompts, Conversation):
        thinking = _thinking(request.prompts, tokenizer, token_ids)
    names = request.names
    return AskedConstraint(request.constraint, calls, thinking, names.constraint, names.tools)


def end_faults(request: GenerationRequest, tokenizer: Tokenizer, ready: EngineReady) -> Iterator[Fault]:
    """A constraint says where an answer ends, so there must be a token that ends it."""
    names = request.names
    if request.constraint is not None:
        field = names.constraint
    elif request.calls is not None and _must_hold(request.calls):
        field = names.tool_choice if request.calls.are_required else names.tools
    else:
        return
    if request.ignore_eos:
        message = f"'{names.ignore_eos}' lets no answer end, and '{field}' says where it does; leave one of them out."
        yield Fault(message, names.ignore_eos)
    elif not request.stop_token_ids and all(end >= ready.vocab_size for end in tokenizer.eos_token_ids):
        message = f"'{field}' needs a token that ends the answer, and this model has none; name one"
        yield Fault(f"{message} in '{names.stop_token_ids}'.", field)


def _must_hold(calls: Calls) -> bool:
    return calls.are_required or not calls.are_parallel or any(tool.strict for tool in calls.tools)


def _thinking(conversation: Conversation, tokenizer: Tokenizer, token_ids: Sequence[int]) -> Thinking:
    reasoning = tokenizer.reply_format.reasoning
    if reasoning is None:
        return Thinking.OVER
    begun = opening(conversation, tokenizer, token_ids)
    if begun.lstrip().startswith(reasoning.begin) and reasoning.end not in begun:
        return Thinking.BEGUN
    variables = conversation.variables
    is_off = any(variables.get(name) is False for name in _ENDS_THINKING)
    is_over = is_off or conversation.is_continued or is_behind_reasoning(tokenizer, token_ids)
    return Thinking.OVER if is_over else Thinking.POSSIBLE


async def check_constraint(
    request: GenerationRequest, token_ids: Sequence[int], tokenizer: Tokenizer, checks: ConstraintChecks, owner: str
) -> Checked:
    """What the engine is to hold the answers to a prompt to."""
    asked = asked_constraint(request, tokenizer, token_ids)
    return None if asked is None else await checks.check(owner, asked, partial(compile_asked, asked, tokenizer))


def compile_asked(asked: AskedConstraint, tokenizer: Tokenizer) -> Checked:
    """Takes milliseconds mostly, seconds at worst."""
    special_tokens = {
        tokenizer.token_text(token_id): token_id
        for token_id in tokenizer.reply_markup(with_tools=True) - tokenizer.eos_token_ids
    }
    answer = asked.answer
    try:
        if answer is not None:
            answer = check(answer, special_tokens)
    except ConstraintError as error:
        return Fault(f"'{asked.field}' cannot be used. {error}", asked.field)
    ends = [tokenizer.token_text(token_id) for token_id in tokenizer.eos_token_ids]

    def whole(calls: Calls | None) -> Constraint | None:
        compiled = compile_reply(tokenizer.reply_format, asked.thinking, answer, calls, special_tokens, ends)
        return None if compiled is None else check(compiled, special_tokens)

    try:
        return whole(asked.calls)
    except ConstraintError as error:
        if asked.calls is None:
            return Fault(f"'{asked.field}' cannot be used. {error}", asked.field)
        return _with_fewer_schemas(asked, asked.calls, whole, error)


def _with_fewer_schemas(asked: AskedConstraint, calls: Calls, whole: Any, first: ConstraintError) -> Checked:
    """The constraint without the schemas of tools that are not strict and cannot be enforced: their arguments are any
    object. What is strict and cannot be enforced is a fault.
    """
    tools = []
    for tool in calls.tools:
        error = _why_not(tool)
        if error is not None and tool.strict:
            return Fault(f"'{asked.tools_field}' cannot be used. The tool {tool.name!r}: {error}", asked.tools_field)
        tools.append(tool if error is None else replace(tool, parameters=_ANY_OBJECT))
    plain = [tool if tool.strict else replace(tool, parameters=_ANY_OBJECT) for tool in tools]
    for fewer in (tools, plain):
        try:
            constraint: Constraint | None = whole(replace(calls, tools=tuple(fewer)))
        except ConstraintError:
            continue
        return constraint
    if _must_hold(calls) or asked.answer is not None:
        return Fault(f"'{asked.tools_field}' cannot be used. {first}", asked.tools_field)
    return None


def _why_not(tool: CallableTool) -> ConstraintError | None:
    """Why the schema of a tool cannot be enforced."""
    try:
        check(Constraint(ConstraintKind.JSON_SCHEMA, tool.parameters or _ANY_OBJECT, tool.strict))
    except ConstraintError as error:
        return error
    return None
