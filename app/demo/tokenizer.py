"""The tokenizer of the embedded model: byte-level BPE, so that any text goes in and comes out unchanged."""

from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from app.demo.corpus import Chat, Document

END_OF_TEXT = "<|endoftext|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
_SPECIAL = (END_OF_TEXT, MESSAGE_START, MESSAGE_END, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
# Not special, so that decoding keeps them and the server can find reasoning and tool calls in the text.
_MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def texts(documents: Iterable[Document]) -> Iterator[str]:
    """The bare texts of the documents, without any markup."""
    for document in documents:
        if isinstance(document, Chat):
            yield from (message["content"] for message in document.messages)
        else:
            yield document.text


def build_tokenizer(
    documents: Iterable[Document], *, vocab_size: int, model_max_length: int
) -> PreTrainedTokenizerFast:
    """A tokenizer learned from the documents; digits stay single, which makes sums easier to learn."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_MARKUP),
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=4,
        show_progress=False,
    )
    # The roles appear in every chat, but only through the template.
    core.train_from_iterator([*texts(documents), *["system", "user", "assistant"] * 10], trainer)
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
