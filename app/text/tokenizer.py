"""Text → token ids and back, in the API process: transformers' fast tokenizers, without torch."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.text.assembly import TextAssembly, begin_assembly
from app.text.chat_format import ChatFormat
from app.text.model_files import ModelFiles, Templates, TokenizerError
from app.text.pieces import UnsupportedDecoderError, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

# Each text is encoded in its caller's thread, so that a long one holds up nobody else's in a pool. Read at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class NoChatTemplate(ValueError):
    """The model does not say how this conversation is written; the message says what to do."""


class ChatTemplateError(ValueError):
    """The chat template does not accept these messages; the message carries the template's own words."""


class TextTooLong(ValueError):
    """A text has more tokens than there may be, which its length alone tells; the message says how many at least."""


class Tokenizer:
    """A model's vocabulary. Threads may share one: nothing in it changes after it is made, except caches."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        model_eos_token_ids: frozenset[int] = frozenset(),
        sampling_defaults: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Raises TokenizerError if the tokenizer joins its tokens in a way that cannot be streamed."""
        self._tokenizer = tokenizer
        # The backend is used directly: called through transformers it is reconfigured (padding, truncation) at every
        # call, which fails when another thread is encoding.
        self._backend: Backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        try:
            self._vocabulary = Vocabulary(self._backend)
        except UnsupportedDecoderError as error:
            raise TokenizerError(str(error)) from error
        tokens = self._backend.get_vocab()
        self._longest_token = max(map(len, tokens))
        self.end_of_ids = max(tokens.values()) + 1
        """One more than the largest id, which is more than `vocab_size` where ids are left out."""
        own = tokenizer.eos_token_id
        self.eos_token_ids: frozenset[int] = model_eos_token_ids | (frozenset() if own is None else {own})
        self.sampling_defaults = sampling_defaults
        self._reserved = set(inspect.signature(tokenizer.apply_chat_template).parameters) - _TEMPLATE_OPTIONS

    @classmethod
    def load(cls, model: str, revision: str | None = None, chat_template: str | None = None) -> Tokenizer:
        """Load from a directory or a hub id. `chat_template` (Jinja) is used instead of the model's own.

        The model's tokenizer.json is used as it is. (AutoTokenizer would build some tokenizers anew by model type,
        and imports torch.) Raises TokenizerError when there is none, it is broken, or it cannot be streamed, and
        BadCheckpoint when another of the model's files is broken.
        """
        from transformers import PreTrainedTokenizerFast

        files = ModelFiles(model, revision)
        files.require_fast_tokenizer()
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(model, revision=revision or "main")
        except Exception as error:  # the tokenizers library raises no narrower class for a file it cannot read
            raise TokenizerError(
                f"The tokenizer of {model!r} cannot be read from tokenizer.json and tokenizer_config.json ({error}). "
                "Copy or download them again."
            ) from error
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        elif not tokenizer.chat_template:
            tokenizer.chat_template = files.processor_chat_template()
        _check_syntax(tokenizer.chat_template, model)
        loaded = cls(tokenizer, files.eos_token_ids(), files.sampling_defaults())
        loaded._report_tokens_from(files.num_rows())
        return loaded

    def _report_tokens_from(self, num_rows: float) -> None:
        """Log which tokens the model, of so many rows, does not have: no request may use them."""
        tokens = sorted((token_id, token) for token, token_id in self._backend.get_vocab().items())
        if foreign := [repr(token) for token_id, token in tokens if token_id >= num_rows]:
            shown = ", ".join(foreign[:MAX_SHOWN_TOKENS]) + (", …" if len(foreign) > MAX_SHOWN_TOKENS else "")
            text = "The tokenizer has %d tokens more than the model, which has %d: a prompt with one is refused (%s)"
            log.warning(text, len(foreign), num_rows, shown)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones too. A model's embedding may have more rows."""
        return self._backend.get_vocab_size()

    @property
    def special_token_ids(self) -> frozenset[int]:
        """The tokens that `skip_special_tokens` leaves out."""
        return self._vocabulary.special_token_ids

    @cached_property
    def chat_format(self) -> ChatFormat:
        """What the chat template, where there is one, shows of the model's replies."""
        template = _select(self._tokenizer.chat_template, with_tools=True)
        return ChatFormat() if template is None else ChatFormat.of(template)

    def encode(self, text: str, add_special_tokens: bool = True, max_tokens: float = inf) -> list[int]:
        """Raises TextTooLong, before it takes time and memory, if there are surely more than `max_tokens`."""
        if (fewest := len(text) // (SHORTENED * self._longest_token)) > max_tokens:
            raise TextTooLong(f"The prompt has at least {fewest} tokens; with what follows there may be {max_tokens}.")
        # As a batch of one: the backend's `encode` keeps all other threads waiting while it works.
        [encoding] = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return encoding.ids

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: float = inf,
        /,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **template_kwargs: Any,
    ) -> list[int]:
        """Write a conversation with the chat template, and encode it: the template gives all special tokens.

        `template_kwargs` are variables of the template (`enable_thinking`), `documents` or `continue_final_message`.
        Raises NoChatTemplate, ChatTemplateError for what the template does not accept, and TextTooLong as `encode`.
        """
        template = _select(self._tokenizer.chat_template, with_tools=bool(tools))
        if template is None:
            raise NoChatTemplate(_no_template(self._tokenizer.chat_template))
        if reserved := sorted(self._reserved & template_kwargs.keys()):
            raise ChatTemplateError(f"Not a variable of a chat template: {', '.join(reserved)}.")
        conversation: Any = [dict(message) for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                conversation,
                chat_template=template,
                tools=[dict(tool) for tool in tools or ()] or None,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **template_kwargs,
            )
        except Exception as error:  # a template is a program: whatever it raises is about these messages
            raise ChatTemplateError(f"The chat template does not accept these messages: {error}") from error
        return self.encode(str(text), add_special_tokens=False, max_tokens=max_tokens)

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of a whole output, the same as streaming it. Ids that the vocabulary does not have show nothing.

        It is transformers' decode without `clean_up_tokenization_spaces` (which removes spaces the model wrote), but
        for byte tokens that are not UTF-8: see FusedAssembly.
        """
        if not self._vocabulary.rules.byte_fallback:
            return self._backend.decode(token_ids, skip_special_tokens=skip_special_tokens)
        assembly = self.begin_text(skip_special_tokens=skip_special_tokens)
        return "".join([assembly.add(token_id) for token_id in token_ids]) + assembly.finish()

    def begin_text(self, prompt_token_ids: Sequence[int] = (), *, skip_special_tokens: bool = True) -> TextAssembly:
        """An empty text, to which tokens are added one by one, that goes on where the prompt ends."""
        return begin_assembly(self._vocabulary, prompt_token_ids, skip_special_tokens=skip_special_tokens)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token adds within a text; a special or added token's are its name. Empty for an unknown id."""
        return self._vocabulary.token_bytes(token_id)

    def token_text(self, token_id: int) -> str:
        """`token_bytes` as text, with U+FFFD for bytes that are no whole character."""
        return self.token_bytes(token_id).decode(errors="replace")

    def token_name(self, token_id: int) -> str:
        """`token_bytes` as text, or written as OpenAI does where they are no whole characters: `bytes:\\xe6\\x97`."""
        data = self.token_bytes(token_id)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


MAX_SHOWN_TOKENS = 5

SHORTENED = 4
"""A tokenizer may compose characters before it looks for tokens, but makes no text shorter than by this factor."""

# What apply_chat_template takes that is a client's to choose; its other parameters are not (one is the template).
_TEMPLATE_OPTIONS = {"documents", "continue_final_message", "kwargs"}

_DEFAULT, _WITH_TOOLS = "default", "tool_use"
"""The names that transformers gives a meaning to, where a model has several templates."""


def _select(templates: Templates | None, *, with_tools: bool) -> str | None:
    """The template that writes a conversation; None if the model has none that does."""
    if not isinstance(templates, dict):
        return templates or None
    return (templates.get(_WITH_TOOLS) if with_tools else None) or templates.get(_DEFAULT)


def _no_template(templates: Templates | None) -> str:
    if not isinstance(templates, dict):
        return (
            "This model has no chat template. Use a model that has one, give one with --chat-template FILE, "
            "or send a prompt to /v1/completions."
        )
    names = ", ".join(map(repr, sorted(templates)))
    tools = f" ({_WITH_TOOLS!r} is used when the request has tools)" if _WITH_TOOLS in templates else ""
    return (
        f"This model's chat templates are named {names}, and none of them is {_DEFAULT!r}{tools}. Start the server "
        "with one of them as --chat-template FILE, or send a prompt to /v1/completions."
    )


def _check_syntax(templates: Templates | None, model: str) -> None:
    """Raises TokenizerError if a chat template is no template, as when its file was cut off."""
    from jinja2 import TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    for template in templates.values() if isinstance(templates, dict) else [templates or ""]:
        try:
            _compile_jinja_template(template)
        except TemplateSyntaxError as error:
            raise TokenizerError(
                f"The chat template of {model!r} is broken (line {error.lineno}: {error.message}). Copy or download it "
                "again, or give another one with --chat-template FILE."
            ) from error
