"""The tokenizer of the embedded model: byte-level BPE, so that any text survives encoding and decoding."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from app.demo.corpus.document import Chat, Document

END_OF_TEXT = "<|endoftext|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
REASONING_START = "<think>\n"
NO_REASONING = "<think>\n\n</think>\n\n"
_SPECIAL = (END_OF_TEXT, MESSAGE_START, MESSAGE_END, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
FIRST_WORD = len(_SPECIAL)
"""All smaller ids are special tokens."""
_MARKUP = tuple(f"<{end}{name}>" for name in ("think", "tool_call", "tools", "tool_response") for end in ("", "/"))
"""These are not special, so that decoding keeps them, and the server can find reasoning and tool calls in the text."""

CHAT_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
_TEMPLATE_WORDS = ["system\n", "user\n", "assistant\n", "tool\n", "Tools:\n"] * 10
"""Words that appear in every chat, but only through the template."""
_ADDED = re.compile("|".join(re.escape(token) for token in _SPECIAL + _MARKUP))


def texts(documents: Iterable[Document]) -> Iterator[str]:
    """The texts of the documents, without the words of the template."""
    for document in documents:
        if isinstance(document, Chat):
            yield from (json.dumps(tool, ensure_ascii=False) for tool in document.tools)
            yield from (message["content"] for message in document.messages)
        else:
            yield document.text


def build_tokenizer(
    documents: Iterable[Document], *, vocab_size: int, model_max_length: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the documents. Digits are separate tokens, which makes arithmetic easier to learn."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A newline is a separate token, so that a prompt ending with one continues as the text does.
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_MARKUP),
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=4,
        show_progress=False,
    )
    pieces = (piece for text in texts(documents) for piece in _ADDED.split(text))
    core.train_from_iterator([*pieces, *_TEMPLATE_WORDS], trainer)
    core.add_tokens([AddedToken(text, normalized=False) for text in _MARKUP])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=MESSAGE_END,
        pad_token=END_OF_TEXT,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=[text for text in _SPECIAL if text not in (END_OF_TEXT, MESSAGE_END)],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
