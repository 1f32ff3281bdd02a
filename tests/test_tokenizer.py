"""Text becomes token ids and back as transformers does it, in a process that never sees torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from app.checkpoint.files import BadCheckpoint
from app.text.chat_template import ChatTemplateError, NoChatTemplate
from app.text.model_files import TokenizerError
from app.text.replies.format import ReplyFormat
from app.text.tokenizer import TextTooLong, Tokenizer

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SHARED_TOKENIZERS = ("tokenizers/gpt2", "tokenizers/pythia", "models/stories260K")

TRAINING_TEXT = [
    "The cat sat on the mat, and the dog sat on the cat; naïve café crème brûlée, über-cool.",
    "Привет, мир! 你好、世界。これは日本語のテキストです。안녕하세요 세계.",
    "👨‍👩‍👧‍👦 is a family, 🇫🇷🇩🇪 are flags, 🙂🙃 are faces, e\u0301 and o\u0308 combine. नमस्ते दुनिया",
]
ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}{% if loud %}!!!{% endif %}"
)


@cache
def byte_level_backend() -> Backend:
    """A byte-level BPE vocabulary like GPT-2's, trained on a little text."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    backend.train_from_iterator(TRAINING_TEXT, trainer)
    backend.add_tokens([AddedToken(name, normalized=False) for name in ("<tool>", "<é>", "    ")])
    start = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
    return backend


@cache
def sentencepiece_backend() -> Backend:
    """A vocabulary like Llama 2's: pieces with `▁` for a space, and bytes for what has no piece."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyzT,.!:é好", "th", "▁a", "▁th", "▁c", "▁▁"]
    merges = [("t", "h"), ("▁", "a"), ("▁", "th"), ("▁", "c"), ("▁", "▁")]
    vocabulary = {piece: token_id for token_id, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return backend


def words_backend(decoder: decoders.Decoder | None, words: str) -> Backend:
    """A vocabulary of whole words, joined by the given decoder."""
    backend = Backend(models.WordLevel({word: i for i, word in enumerate(words.split())}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if decoder is not None:
        backend.decoder = decoder
    backend.add_special_tokens(["[UNK]"])
    return backend


def pretrained(backend: Backend, **options: str) -> PreTrainedTokenizerFast:
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(tokenizer_object=backend, **options)
    return made


def wrap(backend: Backend) -> Tokenizer:
    return Tokenizer(pretrained(backend))


def chatting(template: str) -> Tokenizer:
    return Tokenizer(pretrained(byte_level_backend(), chat_template=template))


def byte_level() -> Tokenizer:
    return wrap(byte_level_backend())


def sentencepiece() -> Tokenizer:
    return wrap(sentencepiece_backend())


def metaspace() -> Tokenizer:
    return wrap(words_backend(decoders.Metaspace(), "[UNK] ▁the ▁cat ▁ s ▁▁ ,"))


def wordpiece() -> Tokenizer:
    return wrap(words_backend(decoders.WordPiece(), "[UNK] the cat ##s , 'm"))


def plain_words() -> Tokenizer:
    return wrap(words_backend(None, "[UNK] the cat sat"))


@cache
def shared_tokenizer(name: str) -> Tokenizer:
    return Tokenizer.load(str(shared_path(name)))


def shared_path(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"needs {name} in the folder `shared` beside the repository")
    return SHARED / name


def save(backend: Backend, directory: Path, **options: str) -> str:
    pretrained(backend, **options).save_pretrained(directory)
    return str(directory)


# --- loading -----------------------------------------------------------------------------------------------------


def test_loading_encoding_and_chatting_never_import_torch(tmp_path: Path) -> None:
    model = save(byte_level_backend(), tmp_path, eos_token="</s>")
    program = (
        "import sys\n"
        "import app.text.detokenizer, app.text.tokenizer\n"
        "assert 'transformers' not in sys.modules, 'transformers is imported before it is needed'\n"
        "tokenizer = app.text.tokenizer.Tokenizer.load(sys.argv[1], chat_template='{{ messages[0].content }}')\n"
        "assert tokenizer.decode(tokenizer.encode_chat([{'role': 'user', 'content': 'hello'}])) == 'hello'\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, model], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", SHARED_TOKENIZERS)
def test_a_published_tokenizer_encodes_and_decodes_as_transformers_loads_it(name: str) -> None:
    from transformers import AutoTokenizer

    ours, theirs = shared_tokenizer(name), AutoTokenizer.from_pretrained(shared_path(name))
    for text in [*TRAINING_TEXT, "", " ", "  two  spaces ", "<s>[INST]</s><|endoftext|>\n\n\tx"]:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)
    assert ours.vocab_size == len(theirs)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        Tokenizer.load(str(tmp_path))


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=f"there is no directory '{tmp_path}/nowhere'"):
        Tokenizer.load(str(tmp_path / "nowhere"))


def test_a_slow_tokenizer_is_refused_and_the_way_to_convert_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"sentencepiece")
    with pytest.raises(TokenizerError, match=r"slow tokenizer.*save_pretrained"):
        Tokenizer.load(str(tmp_path))


def test_a_broken_tokenizer_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer.load(str(tmp_path))


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.CTC(),
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 1)]),
    ],
)
def test_a_decoder_that_cannot_be_followed_token_by_token_is_refused(decoder: decoders.Decoder) -> None:
    with pytest.raises(TokenizerError, match="cannot be streamed"):
        wrap(words_backend(decoder, "[UNK] a"))


# --- end tokens and special tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ({}, {1}),
        ({"config.json": {"eos_token_id": 7}}, {1, 7}),
        ({"generation_config.json": {"eos_token_id": [8, 9]}, "config.json": {"eos_token_id": 7}}, {1, 8, 9}),
        ({"generation_config.json": {"eos_token_id": None}, "config.json": {"eos_token_id": [1, 7]}}, {1, 7}),
        ({"config.json": {"text_config": {"eos_token_id": [7, 8]}}}, {1, 7, 8}),
        ({"config.json": {"eos_token_id": 9, "text_config": {"eos_token_id": 7}}}, {1, 9}),
        ({"config.json": {"text_config": None}}, {1}),
    ],
)
def test_end_tokens_are_the_tokenizers_and_those_that_generate_would_use(
    tmp_path: Path, configs: dict[str, dict[str, object]], expected: set[int]
) -> None:
    model = save(byte_level_backend(), tmp_path, eos_token="</s>")
    for name, config in configs.items():
        (tmp_path / name).write_text(json.dumps(config))
    assert Tokenizer.load(model).eos_token_ids == expected


@pytest.mark.parametrize("ids", ["2", 2.0, True, [2, None], {"id": 2}])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_end_tokens_that_are_no_token_ids_are_refused_by_file_and_field(tmp_path: Path, name: str, ids: object) -> None:
    model = save(byte_level_backend(), tmp_path)
    (tmp_path / name).write_text(json.dumps({"eos_token_id": ids}))
    with pytest.raises(BadCheckpoint, match=f"{name} of {tmp_path} has the eos_token_id"):
        Tokenizer.load(model)


def test_special_tokens_are_those_that_decoding_omits() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("<tool>a</s>")
    assert tokenizer.special_token_ids == {0, 1}
    assert tokenizer.decode(ids) == "<tool>a"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<s><tool>a</s>"


def test_padding_and_truncation_written_in_a_tokenizer_do_not_change_a_prompt(tmp_path: Path) -> None:
    backend = Backend.from_str(byte_level_backend().to_str())
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    assert Tokenizer.load(save(backend, tmp_path)).encode("The cat sat.") == byte_level().encode("The cat sat.")


# --- the bytes and text of one token ---------------------------------------------------------------------------------


def test_the_bytes_of_byte_level_tokens_join_to_the_text() -> None:
    tokenizer = byte_level()
    for text in TRAINING_TEXT:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


def test_the_bytes_of_sentencepiece_tokens_join_to_the_text_and_its_leading_space() -> None:
    tokenizer = sentencepiece()
    for text in TRAINING_TEXT:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == " " + text


def test_a_part_of_a_character_has_its_true_bytes_and_a_replacement_text() -> None:
    for tokenizer in (byte_level(), sentencepiece()):
        ids = tokenizer.encode("🙃", add_special_tokens=False)[-4:]
        assert b"".join(map(tokenizer.token_bytes, ids)) == "🙃".encode()
        assert any(tokenizer.token_text(token_id) == "\ufffd" for token_id in ids)


def test_special_and_added_tokens_are_shown_by_name_and_unknown_ids_by_nothing() -> None:
    tokenizer = byte_level()
    names = ["<s>", "</s>", "<tool>", "<é>", "    "]
    ids = [token_id for name in names for token_id in tokenizer.encode(name, add_special_tokens=False)]
    assert [tokenizer.token_text(token_id) for token_id in ids] == names
    assert tokenizer.token_bytes(tokenizer.vocab_size) == b""
    assert sentencepiece().token_text(2) == "</s>"


def test_a_byte_name_is_ordinary_text_where_the_decoder_does_not_know_bytes() -> None:
    backend = words_backend(decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()]), "[UNK] <0x41>")
    assert wrap(backend).token_text(1) == "<0x41>"


# --- conversations -----------------------------------------------------------------------------------------------


def test_a_conversation_is_encoded_with_one_begin_token(tmp_path: Path) -> None:
    model = save(sentencepiece_backend(), tmp_path, bos_token="<s>")
    tokenizer = Tokenizer.load(model, chat_template=ALTERNATING)
    ids = tokenizer.encode_chat([{"role": "user", "content": "the cat"}])
    assert ids.count(1) == 1
    assert tokenizer.decode(ids, skip_special_tokens=False).split("<s>")[1].strip() == "[user] the cat\n[assistant]"


def test_template_variables_and_the_generation_prompt_reach_the_template() -> None:
    tokenizer = chatting(ALTERNATING)
    message = [{"role": "user", "content": "hi"}]
    assert tokenizer.decode(tokenizer.encode_chat(message, loud=True)) == "[user] hi\n[assistant]!!!"
    assert tokenizer.decode(tokenizer.encode_chat(message, add_generation_prompt=False)) == "[user] hi\n"


def test_a_model_without_a_template_says_what_to_do() -> None:
    with pytest.raises(NoChatTemplate, match="--chat-template FILE"):
        byte_level().encode_chat([{"role": "user", "content": "hi"}])


NAMED = [{"name": "rag", "template": "documents"}, {"name": "tool_use", "template": "{{ tools | length }} tools"}]
HELLO = [{"role": "user", "content": "hello"}]


def named(templates: list[dict[str, str]], directory: Path) -> Tokenizer:
    """A model with several templates, as tokenizer_config.json lists them."""
    model = save(byte_level_backend(), directory)
    config = directory / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": templates}))
    return Tokenizer.load(model)


def test_of_several_templates_the_default_is_used_and_the_one_for_tools_with_tools(tmp_path: Path) -> None:
    tokenizer = named([*NAMED, {"name": "default", "template": "plain"}], tmp_path)
    assert tokenizer.decode(tokenizer.encode_chat(HELLO)) == "plain"
    assert tokenizer.decode(tokenizer.encode_chat(HELLO, tools=[{}, {}])) == "2 tools"


def test_several_templates_without_a_default_are_named_where_none_applies(tmp_path: Path) -> None:
    tokenizer = named(NAMED, tmp_path)
    with pytest.raises(NoChatTemplate, match=r"'rag', 'tool_use', and none of them is 'default'.*--chat-template FILE"):
        tokenizer.encode_chat(HELLO)
    assert tokenizer.decode(tokenizer.encode_chat(HELLO, tools=[{}])) == "1 tools"


def test_several_templates_of_which_none_applies_have_a_format_of_replies_too(tmp_path: Path) -> None:
    assert named(NAMED[:1], tmp_path).reply_format == ReplyFormat()


@pytest.mark.parametrize(
    "template", ["said {{ messages[0].content }}", [{"name": "default", "template": "said {{ messages[0].content }}"}]]
)
def test_the_template_of_a_processor_is_used(template: object, tmp_path: Path) -> None:
    model = save(byte_level_backend(), tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokenizer = Tokenizer.load(model)
    assert tokenizer.decode(tokenizer.encode_chat(HELLO)) == "said hello"


def test_the_template_of_the_tokenizer_comes_before_that_of_the_processor(tmp_path: Path) -> None:
    model = save(byte_level_backend(), tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "old"}))
    (tmp_path / "chat_template.jinja").write_text("new")
    tokenizer = Tokenizer.load(model)
    assert tokenizer.decode(tokenizer.encode_chat(HELLO)) == "new"
    assert tokenizer.decode(Tokenizer.load(model, chat_template="given").encode_chat(HELLO)) == "given"


@pytest.mark.parametrize("template", [{"default": "x"}, ["x"], 1, [{"name": "default"}]])
def test_an_invalid_template_of_a_processor_is_refused(template: object, tmp_path: Path) -> None:
    model = save(byte_level_backend(), tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    with pytest.raises(BadCheckpoint, match=f"chat_template.json of {tmp_path} must have"):
        Tokenizer.load(model)


def test_a_truncated_template_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    model = save(byte_level_backend(), tmp_path)
    (tmp_path / "chat_template.jinja").write_text(ALTERNATING[:-5])
    with pytest.raises(TokenizerError, match=r"chat template of .* is broken \(line 2: .*--chat-template FILE"):
        Tokenizer.load(model)


def test_the_error_of_a_template_that_rejects_the_messages_is_quoted() -> None:
    messages = [{"role": "user", "content": "hi"}] * 2
    with pytest.raises(ChatTemplateError, match="roles must alternate user/assistant"):
        chatting(ALTERNATING).encode_chat(messages)


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        ("{% for", [{"role": "user", "content": "hi"}]),
        ("{{ messages[0].content + 1 }}", [{"role": "user", "content": "hi"}]),
        ("{{ messages[3].content.more }}", [{"role": "user", "content": "hi"}]),
        ("{{ messages[0].content }}", []),
    ],
)
def test_whatever_a_template_raises_is_a_template_error(template: str, messages: list[dict[str, str]]) -> None:
    with pytest.raises(ChatTemplateError):
        chatting(template).encode_chat(messages)


@pytest.mark.parametrize("name", ["chat_template", "tokenize", "return_tensors", "conversation"])
def test_a_client_cannot_reach_past_the_template_into_transformers(name: str) -> None:
    variables: dict[str, Any] = {name: "{{ 7 * 7 }}"}
    with pytest.raises(ChatTemplateError, match=name):
        chatting(ALTERNATING).encode_chat([{"role": "user", "content": "hi"}], **variables)


def test_a_conversation_gives_the_ids_that_transformers_gives() -> None:
    template = shared_path("templates/qwen2.5.jinja").read_text(encoding="utf-8")
    theirs = pretrained(byte_level_backend(), chat_template=template)
    messages = [{"role": "user", "content": "naïve 🙂?"}, {"role": "assistant", "content": "你好"}]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert chatting(template).encode_chat(messages) == expected


def test_tools_reach_a_real_template() -> None:
    tokenizer = chatting(shared_path("templates/qwen2.5.jinja").read_text(encoding="utf-8"))
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    call = {"function": {"name": "get_weather", "arguments": {"city": "Zürich"}}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
    ]
    text = tokenizer.decode(tokenizer.encode_chat(messages, tools=[tool]))
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
    assert json.dumps(tool) in text
    assert '{"name": "get_weather", "arguments": {"city": "Zürich"}}' in text
    assert "<tool_response>\nsunny\n</tool_response>" in text
    assert text.endswith("<|im_start|>assistant\n")
    without = tokenizer.decode(tokenizer.encode_chat(messages[:2], tools=[]))
    assert "# Tools" not in without


# --- threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [byte_level, sentencepiece])
def test_threads_that_share_a_tokenizer_get_what_one_thread_gets(make: Callable[[], Tokenizer]) -> None:
    alone, shared = make(), make()
    texts = TRAINING_TEXT * 40

    def round_trip(tokenizer: Tokenizer, text: str) -> tuple[list[int], str, list[str]]:
        ids = tokenizer.encode(text)
        return ids, tokenizer.decode(ids), [tokenizer.token_text(token_id) for token_id in ids]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: round_trip(shared, text), texts))
    assert together == [round_trip(alone, text) for text in texts]


def test_other_threads_continue_while_a_long_text_is_encoded() -> None:
    encoding = Thread(target=byte_level().encode, args=(TRAINING_TEXT[0] * 10_000,))
    encoding.start()
    num_turns = 0
    while encoding.is_alive():
        encoding.join(1e-4)
        num_turns += 1
    assert num_turns > 10


def test_a_text_that_is_certainly_too_long_is_refused_unencoded_and_one_that_may_fit_is_encoded() -> None:
    tokenizer = byte_level()
    longest = max(map(len, tokenizer._tokenizer.get_vocab()))
    may_fit = "a" * (4 * longest * 11 - 1)
    assert len(tokenizer.encode(may_fit, max_tokens=10)) > 10
    with pytest.raises(TextTooLong, match="at least 11 tokens; prompt and output may have 10"):
        tokenizer.encode(may_fit + "a", max_tokens=10)
