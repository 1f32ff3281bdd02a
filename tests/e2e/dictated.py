"""A server whose answers are dictated: a model that says exactly the tokens it was made to say.

    ANSWERS = ["Hello", '<tool_call>{"name": "add", "arguments": {}}</tool_call>', b"\\xe6"]

    @pytest.fixture(scope="module")
    def dictated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dictated]:
        with dictating(tmp_path_factory.mktemp("models"), ANSWERS) as dictated:
            yield dictated

    httpx.post(f"{dictated.url}/v1/completions", json={"prompt": dictated.prompt("Hello")})
    httpx.post(f"{dictated.url}/v1/chat/completions", json={"messages": dictated.messages("Hello")})

The model is a GPT-2 whose vocabulary size is its width. Token embeddings and all blocks are zero, the embedding of
position p is the one-hot vector of the token that follows position p, and the head is the identity: what comes next
depends on the position alone. All answers lie one behind another in the positions, so the length of the prompt picks
the answer, one start serves many tests, and an answer is the same at any temperature that the API takes. Each one is
followed by `END`; a request that ignores it reads on into the next answer.

Token i is byte i, and the tokens of `MARKUP` and `SPECIAL` come after: the tokenizer can spell any text, valid UTF-8 or
not. Beside the dictated token the bytes that are no characters alone are the most likely ones, 0xff first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tests.e2e.server import ONE_THREAD, ServerProcess, serving
from tests.scripted_engine import byte_backend

Answer = str | bytes
"""A text, in which `MARKUP` and `SPECIAL` are single tokens; or bytes, a token each, that need not be characters."""

END = "<|im_end|>"
SPECIAL = (END, "<|im_start|>", "<|endoftext|>")
"""Left out by `skip_special_tokens`."""

MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

LETTER = "a"
MIN_PROMPT_TOKENS = 8
NUM_FREE_POSITIONS = 4096
"""Behind the last answer, where letters are said: room for `max_tokens` beside any prompt."""

WIDTH = 320
SCALE = 4.0
"""The dictated token's logit is this many times the square root of the width: nothing else is ever drawn."""

CHAT_TEMPLATE = """
{%- for message in messages %}{% for call in message.tool_calls or [] %}
{%- for name, value in call.function.arguments.items() %}{% endfor %}
{%- endfor %}{% endfor %}
{%- set length = messages[-1].content | int -%}
{%- if not length %}{{ tools | tojson }}<tool_call></tool_call><think></think>
{%- elif enable_thinking %}{{ 'a' * (length - 2) + '<think>\n' }}{% else %}{{ 'a' * length }}{% endif -%}
"""
"""With `enable_thinking` the prompt has begun the reasoning; it is as long either way.

Where no answer is asked for, it shows the tools and the markup of Qwen's replies, by which those are recognised.
"""


@dataclass(frozen=True, slots=True)
class Dictated:
    """The server, and how each of its answers is asked for. Raises KeyError for an answer that was not dictated."""

    server: ServerProcess
    lengths: dict[Answer, int]

    @property
    def url(self) -> str:
        return self.server.url

    def prompt(self, answer: Answer) -> str:
        """For `/v1/completions`; it has a token for each letter."""
        return LETTER * self.lengths[answer]

    def messages(self, answer: Answer) -> list[dict[str, Any]]:
        """For `/v1/chat/completions`. Other messages may stand before them."""
        return [{"role": "user", "content": str(self.lengths[answer])}]


@contextmanager
def dictating(directory: Path, answers: Sequence[Answer], *options: str) -> Iterator[Dictated]:
    """A server that gives these answers, ended when the context is left. `options` are those of `millrace serve`."""
    lengths = write_model(directory, answers)
    with serving(directory, "--kv-cache-memory", "64MiB", *ONE_THREAD, *options) as server:
        yield Dictated(server, lengths)


def write_model(directory: Path, answers: Sequence[Answer]) -> dict[Answer, int]:
    """Write the model directory; returns how many tokens of prompt each answer follows."""
    tokenizer = build_tokenizer()
    letter = tokenizer.convert_tokens_to_ids(LETTER)
    said = [letter] * (MIN_PROMPT_TOKENS - 1)
    lengths: dict[Answer, int] = {}
    for answer in dict.fromkeys(answers):
        lengths[answer] = len(said) + 1
        said += list(answer) if isinstance(answer, bytes) else tokenizer.encode(answer, add_special_tokens=False)
        said.append(tokenizer.eos_token_id)
    said += [letter] * NUM_FREE_POSITIONS
    tokenizer.save_pretrained(directory)
    _build_model(said, tokenizer.eos_token_id).save_pretrained(directory)
    return lengths


def build_tokenizer() -> PreTrainedTokenizerFast:
    backend = byte_backend()
    backend.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    backend.add_tokens([AddedToken(text, normalized=False) for text in MARKUP])
    assert backend.get_vocab_size() <= WIDTH
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        additional_special_tokens=[text for text in SPECIAL if text != END],
    )


def _build_model(said: list[int], eos_token_id: int) -> GPT2LMHeadModel:
    """`said[p]` is the token that follows position p."""
    config = GPT2Config(
        vocab_size=WIDTH,
        n_embd=WIDTH,
        n_positions=len(said),
        n_layer=1,
        n_head=WIDTH // 64,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        tie_word_embeddings=False,
        dtype=torch.float32,
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wpe.weight[range(len(said)), said] = 1.0
        model.transformer.ln_f.weight.fill_(SCALE)
        model.transformer.ln_f.bias[:256] = torch.linspace(0, 1, 256)
        model.lm_head.weight.copy_(torch.eye(WIDTH))
    return model
