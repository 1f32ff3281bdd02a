"""Chat templates: conversations → text, as the model was trained to read them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

from app.text.model_files import Templates, TokenizerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class NoChatTemplate(ValueError):
    """The model has no chat template for this conversation; the message says what to do."""


class ChatTemplateError(ValueError):
    """The chat template does not accept these messages; the message carries the template's own words."""


class ChatTemplate:
    """The chat template of a tokenizer, or its several ones. Threads may share it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._reserved = set(inspect.signature(tokenizer.apply_chat_template).parameters) - _TEMPLATE_OPTIONS

    def source(self, *, with_tools: bool) -> str | None:
        """The template for a conversation; None if the model has none."""
        return _select(self._tokenizer.chat_template, with_tools=with_tools)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        **variables: Any,
    ) -> str:
        """The text of a conversation. Raises NoChatTemplate, and ChatTemplateError if the template rejects it."""
        template = self.source(with_tools=bool(tools))
        if template is None:
            raise NoChatTemplate(_no_template(self._tokenizer.chat_template))
        if reserved := sorted(self._reserved & variables.keys()):
            raise ChatTemplateError(f"Not a variable of a chat template: {', '.join(reserved)}.")
        conversation: Any = [dict(message) for message in messages]
        try:
            _allow_changes(template)
            text = self._tokenizer.apply_chat_template(
                conversation,
                chat_template=template,
                tools=[dict(tool) for tool in tools or ()] or None,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **variables,
            )
        except Exception as error:  # a template is a program, and may raise anything about these messages
            raise ChatTemplateError(f"The chat template does not accept these messages: {error}") from error
        return str(text)


def _allow_changes(template: str) -> None:
    """Let a template change lists, which transformers forbids: Kimi's keeps the ids of calls in one. What it can reach
    belongs to this conversation, and the sandbox otherwise stays as it is.
    """
    from jinja2.sandbox import SandboxedEnvironment
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment = _compile_jinja_template(template).environment
    environment.is_safe_attribute = MethodType(SandboxedEnvironment.is_safe_attribute, environment)


# The parameters of apply_chat_template that clients may set; the others are not theirs (one is the template itself).
_TEMPLATE_OPTIONS = {"documents", "continue_final_message", "kwargs"}

_DEFAULT, _WITH_TOOLS = "default", "tool_use"
"""The names with a meaning to transformers, for models with several templates."""


def _select(templates: Templates | None, *, with_tools: bool) -> str | None:
    """The template for a conversation; None if the model has none."""
    if not isinstance(templates, dict):
        return templates or None
    return (templates.get(_WITH_TOOLS) if with_tools else None) or templates.get(_DEFAULT)


def _no_template(templates: Templates | None) -> str:
    if not isinstance(templates, dict):
        return (
            "This model has no chat template. Use a model that has one, provide one with --chat-template FILE, "
            "or send a prompt to /v1/completions."
        )
    names = ", ".join(map(repr, sorted(templates)))
    tools = f" ({_WITH_TOOLS!r} is used when the request has tools)" if _WITH_TOOLS in templates else ""
    return (
        f"This model's chat templates are named {names}, and none of them is {_DEFAULT!r}{tools}. Start the server "
        "with one of them as --chat-template FILE, or send a prompt to /v1/completions."
    )


def check_syntax(templates: Templates | None, model: str) -> None:
    """Raise TokenizerError if a chat template is not valid Jinja, for example because its file is truncated."""
    from jinja2 import TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    for template in templates.values() if isinstance(templates, dict) else [templates or ""]:
        try:
            _compile_jinja_template(template)
        except TemplateSyntaxError as error:
            raise TokenizerError(
                f"The chat template of {model!r} is broken (line {error.lineno}: {error.message}). Copy or download it "
                "again, or provide another one with --chat-template FILE."
            ) from error
