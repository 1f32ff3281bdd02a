"""The embedded model: its tokenizer loses nothing, it is trained on what the template writes, and it answers."""

# ruff: noqa: RUF001 - the ambiguous letters are intended

import random
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from app.demo.answer import answers
from app.demo.card import TEMPLATE, duration, put_results
from app.demo.checkpoint import AnotherRun, Progress
from app.demo.corpus import Chat, PlainText, documents
from app.demo.echo import echoes, mixed
from app.demo.evaluate import Examination, unigram_perplexity
from app.demo.exams import EXAMS
from app.demo.feed import batches
from app.demo.meter import Meter
from app.demo.network import CONTEXT_LENGTH, VOCAB_SIZE, build_network
from app.demo.packing import IGNORED, Packer, encode, encoded
from app.demo.recipe import Recipe, recipe_for
from app.demo.step import Stepper, learned, packed_mask
from app.demo.tokenizer import CHAT_TEMPLATE, END_OF_TEXT, build_tokenizer
from app.demo.train import Run, train

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "app" / "demo" / "model"
TINY = Recipe(steps=6, seed=8, hidden_size=128, num_layers=2, interval=3, compiled=False, tokens_per_step=1024)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
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


def written(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, Any]], **variables: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **variables))


def turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


# The tokenizer


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
    markup = "<think></think><tool_call></tool_call><tools></tools><tool_response></tool_response>"
    token_ids = tokenizer.encode(markup)
    assert len(token_ids) == 8
    assert tokenizer.decode(token_ids, skip_special_tokens=True) == markup


def test_what_ends_with_a_newline_is_how_a_longer_text_begins() -> None:
    text = 'def double(n):\n    """Return twice n."""\n\n    return 2 * n\n'
    fresh = build_tokenizer([PlainText("code", text)] * 9, vocab_size=400, model_max_length=64)
    whole = fresh.encode(text)
    for end in (at + 1 for at, letter in enumerate(text) if letter == "\n"):
        start = fresh.encode(text[:end])
        assert start == whole[: len(start)]


# The chat template


def test_tools_join_the_system_message(tokenizer: PreTrainedTokenizerFast) -> None:
    question = {"role": "user", "content": "Is it cold in Oslo?"}
    tools = "Tools:\n<tools>\n" + str(TOOL).replace("'", '"') + "\n</tools>"
    alone = written(tokenizer, [question], tools=[TOOL])
    assert alone == turn("system", tools) + turn("user", "Is it cold in Oslo?")
    together = written(tokenizer, [{"role": "system", "content": "Be brief."}, question], tools=[TOOL])
    assert together == turn("system", "Be brief.\n\n" + tools) + turn("user", "Is it cold in Oslo?")


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}], ids=["text", "object"])
def test_a_call_in_openai_form_is_written_as_the_model_writes_it(
    tokenizer: PreTrainedTokenizerFast, arguments: object
) -> None:
    call = {"type": "function", "id": "1", "function": {"name": "get_weather", "arguments": arguments}}
    structured = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"role": "tool", "content": "4 degrees", "tool_call_id": "1"}
    plain = {"role": "assistant", "content": CALL}
    question = {"role": "user", "content": "Is it cold in Oslo?"}
    text = written(tokenizer, [question, structured, answer], tools=[TOOL])
    assert text == written(tokenizer, [question, plain, answer], tools=[TOOL])
    assert text.endswith(turn("assistant", CALL) + turn("tool", "<tool_response>\n4 degrees\n</tool_response>"))


def test_two_calls_after_some_words_stand_on_lines_of_their_own(tokenizer: PreTrainedTokenizerFast) -> None:
    calls = [{"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}] * 2
    message = {"role": "assistant", "content": "Let me look.", "tool_calls": calls}
    assert written(tokenizer, [message]) == turn("assistant", f"Let me look.\n{CALL}\n{CALL}")


@pytest.mark.parametrize(
    ("variables", "opening"),
    [({}, ""), ({"enable_thinking": True}, "<think>\n"), ({"enable_thinking": False}, "<think>\n\n</think>\n\n")],
    ids=["as asked", "on", "off"],
)
def test_thinking_is_switched_by_what_the_prompt_opens(
    tokenizer: PreTrainedTokenizerFast, variables: dict[str, bool], opening: str
) -> None:
    text = written(tokenizer, [{"role": "user", "content": "Hello"}], add_generation_prompt=True, **variables)
    assert text == turn("user", "Hello") + "<|im_start|>assistant\n" + opening


def test_reasoning_is_kept_after_the_last_question_only(tokenizer: PreTrainedTokenizerFast) -> None:
    question, answer = (
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\n2"},
    )
    text = written(tokenizer, [question, answer, question, answer])
    assert text.count("<think>") == 1
    assert text.endswith(turn("assistant", "<think>\nhm\n</think>\n\n2"))
    apart = {"role": "assistant", "content": "2", "reasoning_content": "hm"}
    assert text == written(tokenizer, [question, answer, question, apart])


# What is learned


def test_a_chat_is_trained_on_exactly_what_the_template_makes(tokenizer: PreTrainedTokenizerFast) -> None:
    for chat in (document for document in islice(documents(6), 200) if isinstance(document, Chat)):
        messages: Any = list(chat.messages)
        tools: Any = list(chat.tools) or None
        expected = tokenizer.apply_chat_template(messages, tools=tools, return_dict=False)
        assert encode(chat, tokenizer).token_ids == expected


def learned_text(chat: Chat, tokenizer: PreTrainedTokenizerFast, **options: bool) -> str:
    return tokenizer.decode([label for label in encode(chat, tokenizer, **options).labels if label != IGNORED])


def test_only_answers_are_learned_from_a_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = Chat(
        "example",
        (
            {"role": "system", "content": "Be polite"},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": CALL},
            {"role": "tool", "content": "{}"},
            {"role": "assistant", "content": "Good day"},
        ),
        (TOOL,),
    )
    assert learned_text(chat, tokenizer) == f"{CALL}<|im_end|>Good day<|im_end|>"


def test_what_the_prompt_opens_is_not_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    thought = "<think>\nOne and one.\n</think>\n\n2"
    chat = Chat("example", ({"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": thought}))
    assert learned_text(chat, tokenizer) == f"{thought}<|im_end|>", (
        "where the question asks for it, thinking is learned"
    )
    opened = replace(chat, thinking=True)
    assert learned_text(opened, tokenizer) == "One and one.\n</think>\n\n2<|im_end|>"
    assert learned_text(chat, tokenizer, may_reason=False) == "2<|im_end|>"


def test_packed_rows_are_full_and_positions_start_again_with_each_document(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    packer = Packer(encoded(documents(7), tokenizer), tokenizer.pad_token_id, batch_tokens=2048)
    for batch in (packer.batch() for _ in range(5)):
        assert batch.input_ids.shape == batch.position_ids.shape == batch.labels.shape
        assert batch.input_ids.size == 2048
        starts = batch.position_ids == 0
        assert starts[:, 0].all()
        assert (batch.labels[starts] == IGNORED).all()
        padding = batch.input_ids == tokenizer.convert_tokens_to_ids(END_OF_TEXT)
        assert padding.mean() < 0.1


def test_a_batch_of_one_row_length_holds_documents_of_all_lengths(tokenizer: PreTrainedTokenizerFast) -> None:
    packer = Packer(encoded(documents(7), tokenizer), tokenizer.pad_token_id, batch_tokens=8192, row_lengths=(1024,))
    for batch in (packer.batch() for _ in range(3)):
        assert batch.input_ids.shape == (8, 1024)
        sizes = np.diff(np.flatnonzero(batch.position_ids == 0), append=8192)
        assert sizes.min() < 100
        assert sizes.max() > 250


def test_what_is_learned_follows_its_place() -> None:
    labels = np.array([[IGNORED, 5, IGNORED, 6], [IGNORED, IGNORED, 7, 8]], dtype=np.int32)
    places, targets = learned(labels)
    assert places[:4].tolist() == [0, 2, 5, 6]
    assert targets[:4].tolist() == [5, 6, 7, 8]
    assert len(places) == len(targets) == 128
    assert set(targets[4:]) == {IGNORED}


def test_training_leaves_the_frequencies_of_the_rotary_embedding_as_they_are(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = build_network(tokenizer, hidden_size=128, num_layers=2)
    before = model.model.rotary_emb.inv_freq.clone()
    Stepper(model, compiled=False)
    assert model.dtype == torch.bfloat16
    assert torch.equal(model.model.rotary_emb.inv_freq, before), "in bfloat16 they would be others than when it serves"


def test_documents_in_a_row_do_not_see_each_other() -> None:
    visible = packed_mask(torch.tensor([[0, 1, 0, 1, 2]]), torch.float32)[0, 0] == 0
    assert visible.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


def test_a_fresh_network_already_finds_what_followed_a_token_before(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = build_network(tokenizer, hidden_size=256, num_layers=2)
    once = torch.randint(0, VOCAB_SIZE, (4, 60))
    with torch.no_grad():
        best = model(torch.cat([once, once], 1)).logits[:, 60:-1].topk(2).indices
    assert (best == once[:, 1:, None]).any(-1).float().mean() > 0.8, "this token itself comes first, then that one"


def test_what_is_learned_of_an_echo_follows_what_it_followed_before() -> None:
    for sample in islice(echoes(3, range(10, 20_000)), 200):
        pairs = set[tuple[int, int]]()
        for before, here, label in zip(sample.token_ids, sample.token_ids[1:], sample.labels[1:], strict=False):
            assert label in (IGNORED, here)
            assert label == IGNORED or (before, here) in pairs
            pairs.add((before, here))
        assert 8 <= len(sample.token_ids) <= CONTEXT_LENGTH * 1.5
        assert sum(label != IGNORED for label in sample.labels) >= len(sample.labels) // 4


def test_text_is_learned_with_an_echo_now_and_then(tokenizer: PreTrainedTokenizerFast) -> None:
    first_tokens = range(VOCAB_SIZE, VOCAB_SIZE + 9)
    among = islice(mixed(encoded(documents(4), tokenizer), echoes(4, first_tokens)), 100)
    assert [sample.token_ids[0] in first_tokens for sample in among].count(True) == 5


# The training


@pytest.mark.slow
def test_the_same_recipe_has_the_same_loss_at_every_step_interrupted_or_not(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    whole = train(TINY, tmp_path / "whole", tokenizer)
    assert len(whole.losses) == TINY.steps
    assert whole.losses[-1] < whole.losses[0]

    class Interrupted(Exception):
        pass

    class Short(Run):
        def _save(self) -> None:
            super()._save()
            raise Interrupted

    with pytest.raises(Interrupted):
        Short(TINY, tmp_path / "again", tokenizer).finish()
    again = Run(TINY, tmp_path / "again", tokenizer)
    assert again.progress.step == TINY.interval
    assert again.finish().losses == whole.losses
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "again")]
    assert weights[0] == weights[1]


def test_batches_are_the_same_however_many_processes_make_them(tokenizer: PreTrainedTokenizerFast) -> None:
    recipe = replace(TINY, steps=8, copying_steps=3)
    alone, together = (list(batches(recipe, tokenizer, first=0, workers=workers)) for workers in (0, 2))
    assert len(alone) == len(together) == recipe.steps
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_a_run_that_goes_on_draws_the_text_it_would_have_drawn(tokenizer: PreTrainedTokenizerFast) -> None:
    whole, rest = (list(batches(TINY, tokenizer, first, workers=0)) for first in (0, TINY.interval))
    assert [batch.labels.tolist() for batch in whole[TINY.interval :]] == [batch.labels.tolist() for batch in rest]


def test_a_gpu_takes_large_steps_and_saves_a_model_small_enough_to_ship(tokenizer: PreTrainedTokenizerFast) -> None:
    recipe = recipe_for("cuda", steps=10_000, seed=0)
    assert recipe.tokens_per_step % recipe.row_lengths[0] == 0
    assert recipe.copying_steps % recipe.interval == 0
    assert [step for step in range(recipe.steps) if recipe.saves_after(step)][-1] == recipe.steps - 1
    model = build_network(tokenizer, hidden_size=recipe.hidden_size, num_layers=recipe.num_layers)
    assert 2 * model.num_parameters() < 15_000_000


@pytest.mark.slow
def test_the_recipe_for_a_gpu_trains_on_a_cpu_too_in_small_steps(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    recipe = replace(recipe_for("cuda", steps=3, seed=1), device="cpu", tokens_per_step=1024, num_layers=2)
    progress = train(recipe, tmp_path / "model", tokenizer)
    assert len(progress.losses) == 3
    assert "3 of 1,024 tokens" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.slow
def test_a_few_steps_of_echoes_teach_a_tiny_model_to_copy(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=40, interval=40, copying_steps=40)
    progress = train(recipe, tmp_path / "model", tokenizer)
    assert sum(progress.losses[-4:]) / 4 < progress.losses[0] - 1.5


def test_a_run_does_not_go_on_with_another_recipe(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=1)
    train(recipe, tmp_path / "model", tokenizer)
    with pytest.raises(AnotherRun, match="seed was 8, now 9"):
        Run(replace(recipe, seed=9), tmp_path / "model", tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.chat_template = CHAT_TEMPLATE + " "
    with pytest.raises(AnotherRun, match="tokenizer was"):
        Run(recipe, tmp_path / "model", tokenizer)


@pytest.mark.slow
def test_the_smoke_run_trains_saves_loads_and_generates_in_under_a_minute(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.demo.train", "--smoke", "--threads", "1", "--out", str(tmp_path / "model")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"final loss \d\.\d+", ended.stdout)
    assert "> What is a KV cache?" in ended.stdout
    assert (tmp_path / "model" / "model.safetensors").exists()


# The model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_model_explains_a_kv_cache(dtype: torch.dtype) -> None:
    [(_, reply)] = answers(MODEL, ["What is a KV cache?"], dtype)
    assert "keys and values" in reply
    assert reply.endswith(".")


def test_the_model_is_stored_in_bfloat16_and_small_enough_to_ship() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    assert model.dtype == torch.bfloat16
    assert model.config.dtype == torch.bfloat16
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 16_000_000


def test_the_model_says_how_it_likes_to_be_sampled_and_where_texts_and_answers_end(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    generation = AutoModelForCausalLM.from_pretrained(MODEL).generation_config
    assert generation.eos_token_id == tokenizer.convert_tokens_to_ids([END_OF_TEXT, "<|im_end|>"])
    assert (generation.do_sample, generation.max_length) == (True, CONTEXT_LENGTH)


@pytest.mark.slow
def test_the_model_passes_its_first_exam_and_expects_what_it_should_write() -> None:
    examination = Examination(MODEL, threads=1)
    result = examination.sit(EXAMS[0], count=20, seed=0)
    assert result.share >= result.exam.wanted
    samples = examination.samples(seed=1, count=20)
    assert 1 < examination.perplexity(samples) < unigram_perplexity(samples, samples, VOCAB_SIZE) / 10


def test_questions_are_answered_together_as_they_are_one_by_one() -> None:
    examination = Examination(MODEL, threads=1)
    prompts = [examination.prompt(exam.ask(random.Random(3))) for exam in EXAMS[::4]]
    assert examination.replies(prompts) == [reply for prompt in prompts for reply in examination.replies([prompt])]


@pytest.mark.slow
def test_the_card_says_how_to_make_the_model_again(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    recipe = replace(recipe_for("cpu", steps=2, seed=5), compiled=False, tokens_per_step=1024, num_layers=2)
    train(recipe, tmp_path / "model", tokenizer)
    text = (tmp_path / "model" / "README.md").read_text()
    assert "--steps 2 --seed 5 --threads" in text
    assert "--tokens-per-step 1024 --layers 2" in text
    assert "tokens per second" in text


def test_the_card_of_the_model_in_the_package_is_of_this_model_and_says_what_cards_say() -> None:
    text = (MODEL / "README.md").read_text()
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    assert f"{model.num_parameters():,} parameters" in text
    assert all(paragraph in text for paragraph in TEMPLATE.strip().split("\n\n") if "{" not in paragraph)
    assert [line.split(" | ")[0] for line in text.split("## Evaluation")[1].splitlines() if " of 100 " in line] == [
        f"| {exam.name}" for exam in EXAMS
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(86.4, "86 seconds"), (1500.0, "25 minutes"), (20_256.0, "5.6 hours")], ids=str
)
def test_a_time_is_told_in_a_unit_that_suits_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_every_loss_is_recorded_however_seldom_they_are_read() -> None:
    progress = Progress()
    meter = Meter(progress, tokens_per_step=10)
    for step, batch in enumerate(meter.timed("abcdefg")):
        assert batch == "abcdefg"[step]
        meter.add(torch.tensor(float(step)))
        if step == 4:
            assert progress.losses == []
            assert "loss=2.000" in meter.read()
    meter.read()
    assert progress.losses == [0, 1, 2, 3, 4, 5, 6]
    assert progress.seconds > 0


def test_results_are_put_into_a_card_once(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Card\n\n## Evaluation\n\nold\n\n## Limits\n\nmany\n")
    put_results(tmp_path, "new")
    put_results(tmp_path, "new")
    assert (tmp_path / "README.md").read_text() == "# Card\n\n## Evaluation\n\nnew\n\n## Limits\n\nmany\n"
