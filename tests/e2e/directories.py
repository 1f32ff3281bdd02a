"""Model directories to serve: one made here, with random weights and a tokenizer, and real ones where they are."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from app.config import DEMO_MODEL
from tests.e2e.server import ROOT
from tests.models import VOCAB_SIZE, generate_alone, reference_model

DEMO = DEMO_MODEL
STORIES = ROOT.parent / "shared" / "models" / "stories260K"

MAX_MODEL_LEN = 8192
"""Long enough that no test sees the end of an answer that it means to cut off."""

CHAT_TEMPLATE = "{% for message in messages %}{{ message.role[0] }}: {{ message.content }}\n{% endfor %}"

TRAINING_TEXT = [
    "the miller grinds the grain that the river brings to the old mill",
    "a mill race carries water; the wheel turns, and flour falls into the sack",
    "grain, water, stone: nothing else 🌾, and a naïve café for the miller's friends",
    "user: and assistant: speak of wheels?\n",
]


class TextModel:
    """A directory with `tests.models`' random Llama, and what `transformers.generate` says to a text."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        reference_model("Llama").save_pretrained(directory)
        config = directory / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": MAX_MODEL_LEN}))
        self.tokenizer = train_tokenizer(TRAINING_TEXT, VOCAB_SIZE)
        saved = PreTrainedTokenizerFast(tokenizer_object=self.tokenizer)
        saved.chat_template = CHAT_TEMPLATE
        saved.save_pretrained(directory)

    @property
    def name(self) -> str:
        return self.directory.name

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def continuation(self, prompt: str, max_tokens: int) -> str:
        """The greedy text of `transformers.generate` for this prompt alone."""
        text: str = self.tokenizer.decode(generate_alone("Llama", tuple(self.encode(prompt)), max_tokens))
        return text


def train_tokenizer(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly this many tokens. Bytes that `texts` lack have none."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False))
    assert tokenizer.get_vocab_size() == vocab_size
    return tokenizer
