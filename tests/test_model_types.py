"""Every model type that transformers knows, through a real start: served, token for token equal, or truly refused.

They are compared with what `generate` gives with transformers' own eager attention, in float32, for several prompts
that are computed together in chunks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from tests.census.checkpoints import MODEL_TYPES, any_config, auto_class
from tests.census.outcome import Outcome
from tests.census.sizes import VARIANTS
from tests.census.survey import summary, survey

ALL = [*MODEL_TYPES, *VARIANTS]


def known(*names: str) -> list[str]:
    """Those of them that the installed transformers has."""
    return [name for name in names if name in ALL]


ON_KERNELS = known("llama", "mistral", "qwen2", "qwen3", "qwen3@window")
ON_MODULES = known(
    *("gpt2", "opt", "gpt_bigcode", "gpt_neox", "gemma2", "gemma3_text", "gpt_oss", "deepseek_v3"),
    "jetmoe",  # chooses experts by value, so that it cannot be traced without values
    "nemotron",  # hands no keyword arguments to its attention
    "qwen2_moe@window",  # has its window in its mask alone
)
SERVED = [*ON_KERNELS, *ON_MODULES]
REFUSED = known("bert", "bloom", "blt", "doge", "gemma3", "llama4_text", "llava", "mamba", "moshi", "t5gemma2")


@pytest.fixture(scope="module")
def some() -> dict[str, Outcome]:
    return survey([*SERVED, *REFUSED])


@pytest.fixture(scope="module")
def every() -> dict[str, Outcome]:
    return survey(ALL)


@pytest.mark.parametrize("name", SERVED)
def test_a_type_that_is_served_starts_and_has_the_tokens_of_generate(name: str, some: dict[str, Outcome]) -> None:
    outcome = some[name]
    assert (outcome.verdict, outcome.reason) == ("equal", "")
    assert outcome.backend == ("native" if name in ON_KERNELS else "sdpa")
    assert outcome.distinct > 1, "the model repeats itself: a weak test"


@pytest.mark.parametrize("name", REFUSED)
def test_a_type_that_cannot_be_served_is_refused_for_a_true_reason(name: str, some: dict[str, Outcome]) -> None:
    assert some[name].verdict == "refused"
    check_reason(name, some[name].reason)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_type_is_served_with_the_tokens_of_generate_or_refused_for_a_true_reason(
    name: str, every: dict[str, Outcome]
) -> None:
    outcome = every[name]
    if outcome.verdict == "not built":
        pytest.skip(f"transformers cannot build it: {outcome.reason}")
    assert outcome.verdict in ("equal", "refused"), outcome.reason
    if outcome.verdict == "refused":
        check_reason(name, outcome.reason)


@pytest.mark.slow
def test_most_types_of_decoders_are_served(every: dict[str, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(every)} model types and variants: {summary(every)}")
    assert sum(outcome.verdict == "equal" for outcome in every.values()) > len(MODEL_FOR_CAUSAL_LM_MAPPING) // 3


def check_reason(name: str, reason: str) -> None:
    """It is one of those below, and holds."""
    config = any_config(name)
    assert config is not None
    words = reason.removeprefix(f"models of type {config.model_type!r} cannot be served: ")
    checks = [check for pattern, check in TRUE_IF.items() if re.match(pattern, words)]
    assert checks, f"nobody knows what this means: {reason}"
    assert checks[0](config, words), f"this is not so: {reason}"


def _sees_the_future(config: PretrainedConfig, _: str) -> bool:
    torch.manual_seed(0)
    model = auto_class(config.model_type).from_config(config, attn_implementation="eager").eval()
    with torch.inference_mode():
        one, other = (model(input_ids=torch.tensor([[5, 6, last]])).logits[0, 0] for last in (7, 8))
    return not torch.allclose(one, other)


def _has_state(config: PretrainedConfig, _: str) -> bool:
    layers = DynamicCache(config=config).layers
    return any("Linear" in type(layer).__name__ for layer in layers) or _class_of(config)._is_stateful


def _has_parts(config: PretrainedConfig, _: str) -> bool:
    return bool(config.sub_configs) or type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _has_those_layers(config: PretrainedConfig, words: str) -> bool:
    named = re.findall(r"\w+_attention|\w+_mlp", words.partition(";")[0])
    return bool(named) and set(named) <= set(config.layer_types)


def _class_of(config: PretrainedConfig) -> type:
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _cannot_be_checked_here(*_: object) -> bool:
    """What is said there shows in no other way than the one that found it."""
    return True


TRUE_IF: dict[str, Callable[[PretrainedConfig, str], bool]] = {
    "it is an encoder-decoder": lambda config, _: config.is_encoder_decoder,
    "it joins several models": _has_parts,
    "it has layers with a recurrent state": _has_state,
    "it has layers of type": _has_those_layers,
    "its attention is not causal": _sees_the_future,
    "its attention in transformers cannot be replaced": lambda c, _: not _class_of(c)._supports_attention_backend,
    "transformers has no causal language model": lambda config, _: type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING,
    r"its layer \d+ attends twice": _cannot_be_checked_here,
    r"its layer \d+ sees (all|\d+) tokens by its mask, and \d+ in transformers' own cache": _cannot_be_checked_here,
    "it makes masks of its own": _cannot_be_checked_here,
}
