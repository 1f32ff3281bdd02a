"""The embedded model: its training text is right, its tokenizer loses nothing, and it answers."""

# ruff: noqa: RUF001 - the odd letters are meant

from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from app.demo.answer import answers
from app.demo.corpus import Chat, documents
from app.demo.network import VOCAB_SIZE
from app.demo.packing import IGNORED, Packer, encode
from app.demo.tokenizer import END_OF_TEXT
from app.demo.train import Recipe, train

MODEL = Path(__file__).parent.parent / "app" / "demo" / "model"
ODD_TEXTS = (
    "",
    " two  spaces\tand\r\nlines \n",
    "naïve café, e\u0301 and a\u0308\u0323",
    "你好，世界 こんにちは 안녕하세요",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👋🏽",
    "مرحبا \u200f שלום",
    "\x00\x7f\ufeff\ufffd\U0010ffff",
    "1234567890 3.14 ½ ²",
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded = AutoTokenizer.from_pretrained(MODEL)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_the_tokenizer_gives_back_any_text_unchanged(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_tokenizer_has_an_entry_for_every_byte_and_as_many_entries_as_the_model(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = "".join(map(chr, range(0x800)))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer) == VOCAB_SIZE


def test_markup_of_reasoning_and_tools_is_one_token_each_and_survives_decoding(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    markup = "<think></think><tool_call></tool_call>"
    token_ids = tokenizer.encode(markup)
    assert len(token_ids) == 4
    assert tokenizer.decode(token_ids, skip_special_tokens=True) == markup


def test_a_chat_is_trained_on_exactly_what_the_template_makes(tokenizer: PreTrainedTokenizerFast) -> None:
    chats = [document for document in islice(documents(6), 100) if isinstance(document, Chat)]
    for chat in chats:
        messages = [{"role": str(message["role"]), "content": message["content"]} for message in chat.messages]
        assert encode(chat, tokenizer).token_ids == tokenizer.apply_chat_template(messages, return_dict=False)


def test_only_answers_are_learned_from_a_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = Chat("example", ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}))
    learned = [label for label in encode(chat, tokenizer).labels if label != IGNORED]
    assert tokenizer.decode(learned) == "Good day<|im_end|>"


def test_packed_rows_are_full_and_positions_start_again_with_each_document(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    batch = Packer(documents(7), tokenizer).batch(rows=3, length=256)
    assert batch.input_ids.shape == batch.position_ids.shape == batch.labels.shape == (3, 256)
    assert (batch.position_ids[:, 0] == 0).all()
    starts = batch.position_ids == 0
    assert starts.sum() > 3
    assert (batch.labels[starts] == IGNORED).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_model_explains_a_kv_cache(dtype: torch.dtype) -> None:
    [(_, reply)] = answers(MODEL, ["What is a KV cache?"], dtype)
    assert "keys and values" in reply
    assert reply.endswith(".")


def test_the_model_is_stored_in_bfloat16_and_small_enough_to_ship() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    assert model.dtype == torch.bfloat16
    assert model.config.dtype == torch.bfloat16
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 8_000_000


def test_the_model_ends_plain_text_and_answers_with_their_own_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    ends = tokenizer.convert_tokens_to_ids([END_OF_TEXT, "<|im_end|>"])
    assert model.generation_config.eos_token_id == ends


@pytest.mark.slow
def test_a_tiny_training_run_saves_a_model_that_loads_and_generates(tmp_path: Path) -> None:
    recipe = Recipe(steps=5, seed=8, device="cpu", tokenizer_documents=4000, hidden_size=96, num_layers=2)
    assert 0 < train(recipe, tmp_path / "model") < 10
    [(_, reply)] = answers(tmp_path / "model", ["Hello"])
    assert isinstance(reply, str)
