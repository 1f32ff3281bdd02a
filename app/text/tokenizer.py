"""Text → token ids and back, in the API process: transformers' fast tokenizers, without torch."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.text.assembly import TextAssembly, begin_assembly
from app.text.chat_format import ChatFormat
from app.text.pieces import UnsupportedDecoderError, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast


# Each text is encoded in its caller's thread, so that a long one holds up nobody else's in a pool. Read at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class TokenizerError(ValueError):
    """The model has no tokenizer that can be used; the message says what to do."""


class NoChatTemplate(ValueError):
    """The model does not say how a conversation is written; the message says what to do."""


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
        self._longest_token = max(map(len, self._backend.get_vocab()))
        own = tokenizer.eos_token_id
        self.eos_token_ids: frozenset[int] = model_eos_token_ids | (frozenset() if own is None else {own})
        self.sampling_defaults = sampling_defaults
        self._reserved = set(inspect.signature(tokenizer.apply_chat_template).parameters) - _TEMPLATE_OPTIONS

    @classmethod
    def load(cls, model: str, revision: str | None = None, chat_template: str | None = None) -> Tokenizer:
        """Load from a directory or a hub id. `chat_template` (Jinja) is used instead of the model's own.

        The model's tokenizer.json is used as it is. (AutoTokenizer would build some tokenizers anew by model type,
        and imports torch.) Raises TokenizerError when there is none, it is broken, or it cannot be streamed.
        """
        from transformers import PreTrainedTokenizerFast

        _require_fast(model, revision)
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(model, revision=revision or "main")
        except Exception as error:  # the tokenizers library raises no narrower class for a file it cannot read
            raise TokenizerError(f"The tokenizer of {model!r} cannot be read: {error}") from error
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        return cls(tokenizer, _model_eos_token_ids(model, revision), _sampling_defaults(model, revision))

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
        if not self._tokenizer.chat_template:
            return ChatFormat()
        return ChatFormat.of(self._tokenizer.get_chat_template(tools=[{}]))

    def encode(self, text: str, add_special_tokens: bool = True, most_tokens: float = inf) -> list[int]:
        """Raises TextTooLong, before it takes time and memory, if there are surely more than `most_tokens`."""
        if (fewest := len(text) // (SHORTENED * self._longest_token)) > most_tokens:
            raise TextTooLong(f"The prompt has at least {fewest} tokens; with what follows there may be {most_tokens}.")
        # As a batch of one: the backend's `encode` keeps all other threads waiting while it works.
        [encoding] = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return encoding.ids

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        most_tokens: float = inf,
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
        if not self._tokenizer.chat_template:
            raise NoChatTemplate(
                "This model has no chat template. Use a model that has one, give one with --chat-template FILE, "
                "or send a prompt to /v1/completions."
            )
        if reserved := sorted(self._reserved & template_kwargs.keys()):
            raise ChatTemplateError(f"Not a variable of a chat template: {', '.join(reserved)}.")
        conversation: Any = [dict(message) for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                conversation,
                tools=[dict(tool) for tool in tools or ()] or None,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **template_kwargs,
            )
        except Exception as error:  # a template is a program: whatever it raises is about these messages
            raise ChatTemplateError(f"The chat template does not accept these messages: {error}") from error
        return self.encode(str(text), add_special_tokens=False, most_tokens=most_tokens)

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


SHORTENED = 4
"""A tokenizer may compose characters before it looks for tokens, but makes no text shorter than by this factor."""

# How a model's makers may say that it is sampled best, in generation_config.json.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")

# What apply_chat_template takes that is a client's to choose; its other parameters are not (one is the template).
_TEMPLATE_OPTIONS = {"documents", "continue_final_message", "kwargs"}


def _require_fast(model: str, revision: str | None) -> None:
    if _find(model, revision, "tokenizer.json"):
        return
    if any(_find(model, revision, name) for name in ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")):
        raise TokenizerError(
            f"{model!r} has only a slow tokenizer. Convert it: "
            "AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIRECTORY) writes the tokenizer.json needed here."
        )
    raise TokenizerError(f"{model!r} has no tokenizer: there is no tokenizer.json, or the model cannot be reached.")


def _find(model: str, revision: str | None, name: str) -> str | None:
    """The path of a model's file, downloaded if need be; None if the model has no such file."""
    from transformers.utils.hub import cached_file

    try:
        path: str | None = cached_file(model, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    except OSError as error:
        raise TokenizerError(f"The model {model!r} cannot be read: {error}") from error
    return path


def _model_eos_token_ids(model: str, revision: str | None) -> frozenset[int]:
    """The end tokens the model was published with, found where transformers' `generate` finds them."""
    for name in ("generation_config.json", "config.json"):
        ids = _read(model, revision, name).get("eos_token_id")
        if ids is not None:
            return frozenset([ids] if isinstance(ids, int) else ids)
    return frozenset()


def _sampling_defaults(model: str, revision: str | None) -> dict[str, float]:
    """How the model was published to be sampled; only what it says."""
    said = _read(model, revision, "generation_config.json")
    return {name: said[name] for name in _SAMPLING if said.get(name) is not None}


def _read(model: str, revision: str | None, name: str) -> dict[str, Any]:
    """A JSON file of the model; empty if there is none."""
    path = _find(model, revision, name)
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return content
