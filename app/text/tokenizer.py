"""Text → token ids and back, in the API process, with transformers' fast tokenizers and without torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.text.assembly import TextAssembly, begin_assembly
from app.text.chat_template import ChatTemplate, check_syntax
from app.text.model_files import ModelFiles, TokenizerError
from app.text.pieces import UnsupportedDecoderError, Vocabulary
from app.text.replies.format import ReplyFormat
from app.text.replies.recognition import recognize

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

# Encode each text in its caller's thread, so that a long one does not delay others in a shared pool. The library reads
# this at every call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class TextTooLong(ValueError):
    """By its length alone, a text has more tokens than allowed; the message says how many at least."""


class Tokenizer:
    """A model's tokenizer. Threads may share it: nothing in it changes after construction, except caches."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        model_eos_token_ids: frozenset[int] = frozenset(),
        sampling_defaults: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Raises TokenizerError if its output cannot be decoded token by token."""
        self._tokenizer = tokenizer
        # The backend is called directly, because transformers reconfigures it (padding, truncation) at every call,
        # which fails while another thread is encoding.
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
        """One more than the largest id, which is more than `vocab_size` if there are gaps between ids."""
        own = tokenizer.eos_token_id
        self.eos_token_ids: frozenset[int] = model_eos_token_ids | (frozenset() if own is None else {own})
        self.sampling_defaults = sampling_defaults
        self._chat_template = ChatTemplate(tokenizer)

    @classmethod
    def load(cls, model: str, revision: str | None = None, chat_template: str | None = None) -> Tokenizer:
        """Load from a directory or a hub id. `chat_template` (Jinja source) replaces the model's own.

        The model's tokenizer.json is used as it is. (AutoTokenizer would rebuild some tokenizers by model type, and
        imports torch.) Raises TokenizerError if it is missing or broken or cannot be streamed, and BadCheckpoint if
        another of the model's files is broken.
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
        check_syntax(tokenizer.chat_template, model)
        loaded = cls(tokenizer, files.eos_token_ids(), files.sampling_defaults())
        loaded._report_tokens_from(files.num_rows())
        loaded.reply_format  # noqa: B018 - recognised now, so that no request waits for it
        return loaded

    def _report_tokens_from(self, num_rows: float) -> None:
        """Log the tokens that are beyond the `num_rows` of the model's embedding: prompts with one are rejected."""
        tokens = sorted((token_id, token) for token, token_id in self._backend.get_vocab().items())
        if foreign := [repr(token) for token_id, token in tokens if token_id >= num_rows]:
            shown = ", ".join(foreign[:MAX_SHOWN_TOKENS]) + (", …" if len(foreign) > MAX_SHOWN_TOKENS else "")
            text = "the tokenizer has %d more tokens than the model, which has %d: prompts with one are rejected (%s)"
            log.warning(text, len(foreign), num_rows, shown)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, including added ones. A model's embedding may have more rows."""
        return self._backend.get_vocab_size()

    @property
    def special_token_ids(self) -> frozenset[int]:
        """The tokens that `skip_special_tokens` omits."""
        return self._vocabulary.special_token_ids

    @cached_property
    def reply_format(self) -> ReplyFormat:
        """The markup of the model's replies, recognised from its chat template if it has one."""
        template = self._chat_template.source(with_tools=True)
        if template is None:
            return ReplyFormat()
        return recognize(self._chat_template.render, template, getattr(self._tokenizer, "response_template", None))

    def reply_markup(self, *, with_tools: bool) -> frozenset[int]:
        """The special tokens that a reader of replies needs to see: with those of calls, if tools are on offer."""
        return self._reply_markup[with_tools]

    @cached_property
    def _reply_markup(self) -> tuple[frozenset[int], frozenset[int]]:
        markup = [self.reply_format.markup(with_tools=with_tools) for with_tools in (False, True)]
        without, with_tools = (
            frozenset(token_id for token_id in self.special_token_ids if (self.token_text(token_id) or "\0") in text)
            for text in markup
        )
        return without, with_tools

    def encode(self, text: str, add_special_tokens: bool = True, max_tokens: float = inf) -> list[int]:
        """Encode a text. Raises TextTooLong, before it costs time and memory, if it certainly has over `max_tokens`."""
        if (min_tokens := len(text) // (MAX_COMPOSITION * self._longest_token)) > max_tokens:
            raise TextTooLong(f"The prompt has at least {min_tokens} tokens; prompt and output may have {max_tokens}.")
        # As a batch of one, because the backend's `encode` blocks all other threads while it works.
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
        """Render a conversation with the chat template and encode it. All special tokens come from the template.

        `template_kwargs` are variables of the template (such as `enable_thinking`), `documents` or
        `continue_final_message`. Raises NoChatTemplate, ChatTemplateError if the template rejects the messages, and
        TextTooLong like `encode`.
        """
        text = self._chat_template.render(
            messages, tools=tools, add_generation_prompt=add_generation_prompt, **template_kwargs
        )
        return self.encode(text, add_special_tokens=False, max_tokens=max_tokens)

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of a whole output, equal to what streaming it gives. Ids that the vocabulary lacks have no text.

        The result is that of transformers' decode without `clean_up_tokenization_spaces` (which removes spaces that the
        model wrote), except for byte tokens that are not valid UTF-8 (see FusedAssembly).
        """
        if not self._vocabulary.rules.byte_fallback:
            return self._backend.decode(token_ids, skip_special_tokens=skip_special_tokens)
        assembly = self.begin_text(skip_special_tokens=skip_special_tokens)
        return "".join([assembly.add(token_id) for token_id in token_ids]) + assembly.finish()

    def begin_text(
        self,
        prompt_token_ids: Sequence[int] = (),
        *,
        skip_special_tokens: bool = True,
        kept_token_ids: frozenset[int] = frozenset(),
    ) -> TextAssembly:
        """An empty text that continues where the prompt ends, and to which tokens are added one by one. Of the special
        tokens, if they are skipped, it shows `kept_token_ids`.
        """
        vocabulary = self._vocabulary
        pieces = vocabulary.without_special(kept_token_ids) if skip_special_tokens else vocabulary.all_pieces
        return begin_assembly(vocabulary, prompt_token_ids, pieces)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token adds within a text; for a special or added token its name. Empty for an unknown id."""
        return self._vocabulary.token_bytes(token_id)

    def token_text(self, token_id: int) -> str:
        """`token_bytes` as text, with U+FFFD for bytes that are no complete character."""
        return self.token_bytes(token_id).decode(errors="replace")

    def token_name(self, token_id: int) -> str:
        """`token_bytes` as text, or in OpenAI's notation if they are not complete characters: `bytes:\\xe6\\x97`."""
        data = self.token_bytes(token_id)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


MAX_SHOWN_TOKENS = 5

MAX_COMPOSITION = 4
"""A tokenizer may compose characters (Unicode normalisation) first, but shortens no text by more than this factor."""
