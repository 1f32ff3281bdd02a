"""The kernels against float64, and the engine's tokens against `transformers.generate`."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from itertools import islice, product, takewhile
from typing import Any
from unittest.mock import patch

import torch
from transformers import PreTrainedModel

from app.messages import Generate, SamplingParams
from tests.bench.gpu.engine import Engine, give_memory_back, random_model
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale
from tests.bench.gpu.side_by_side import side_by_side
from tests.builders import tokens_of

TOLERANCE = 2e-2
DECODING = ((1, 1), (1, 17), (1, 333), (1, 1500))
PREFILLING = ((5, 5), (200, 200), (170, 1500), (2, 33))
FEATURES: dict[str, dict[str, Any]] = {
    "decoding": {"rows": DECODING},
    "prefilling": {"rows": PREFILLING},
    "both": {},
    "long whole prompts": {"rows": ((1, 333), (1100, 1100), (170, 1500), (1024, 1024))},
    "one head": {"num_heads": 1, "num_kv_heads": 1},
    "groups of 8": {"num_heads": 16, "num_kv_heads": 2},
    "groups of 7": {"num_heads": 7, "num_kv_heads": 1},
    "groups of 40": {"num_heads": 40, "num_kv_heads": 1, "rows": DECODING},
    "head size 32": {"key_size": 32, "value_size": 32},
    "head size 80": {"key_size": 80, "value_size": 80},
    "head size 128": {"key_size": 128, "value_size": 128},
    "head size 256": {"key_size": 256, "value_size": 256},
    "keys of 192, values of 128": {"key_size": 192, "value_size": 128},
    "blocks of 32": {"block_size": 32},
    "blocks of 48": {"block_size": 48},
    "blocks of 256": {"block_size": 256},
    "window": {"window": 100},
    "window of 1": {"window": 1},
    "soft-capping": {"softcap": 5.0, "scale": 1.0},
    "sinks": {"has_sinks": True},
    "all of these": {"has_sinks": True, "window": 133, "softcap": 2.0, "num_heads": 6},
}
USUAL: dict[str, Any] = {"rows": DECODING + PREFILLING, "key_size": 64, "value_size": 64}
SMALL = ((1, 1), (1, 40), (5, 21))


def kernels(scale: Scale, tell: Tell) -> None:
    """Relative errors by feature; rows and blocks are shuffled, and whatever is nobody's is NaN."""
    scale.needs_triton()
    names = list(FEATURES)[-2:] if scale.smoke else list(FEATURES)
    dtypes = [dtype for dtype in dtypes_of(scale) if tell.known(what_of(dtype, names)) is None]
    errors = side_by_side(scale, partial(error_of, scale), [*product(dtypes, names)])
    for dtype in dtypes:
        found = dict(zip(names, islice(errors, len(names)), strict=True))
        worst = max(found, key=lambda name: found[name] if found[name] == found[name] else torch.inf)
        limit = 1e-5 if dtype is torch.float32 else TOLERANCE
        tell(Figure("kernels", what_of(dtype, names), (found[worst],), "", at_most=limit, note=f"worst: {worst}"))


def dtypes_of(scale: Scale) -> tuple[torch.dtype, ...]:
    """What matters most comes first, should time run out."""
    return (torch.float32,) if scale.smoke else (torch.bfloat16, torch.float16, torch.float32)


def what_of(dtype: torch.dtype, names: list[str]) -> str:
    return f"error of {len(names)} kinds of attention, {str(dtype).removeprefix('torch.')}"


def error_of(scale: Scale, asked: tuple[torch.dtype, str]) -> float:
    from tests.attention_world import World

    dtype, name = asked
    world = World(**USUAL | FEATURES[name] | {"dtype": dtype} | ({"rows": SMALL} if scale.smoke else {}))
    given, expected = world.attended(scale.device)
    return ((given - expected).norm() / expected.norm()).item()


def tokens(scale: Scale, tell: Tell) -> None:
    """How long greedy tokens are those of transformers' eager attention, and those of float32.

    What rounds elsewhere than transformers' modules do has other tokens than they sooner or later, however exact it is;
    float32 is the judge of that. With those modules around our attention, all else rounds in the same places.
    """
    shape = scale.shape("0.6B")
    num_prompts, num_tokens = scale.of(64, 2), scale.of(128, 4)
    prompts = torch.randint(shape.vocab_size, (num_prompts, 32), generator=torch.Generator().manual_seed(1))
    eager = random_model(scale, shape, "eager")
    by_eager = generated(eager, prompts, num_tokens)
    by_float32 = generated(eager.float(), prompts, num_tokens)
    by_sdpa = generated(random_model(scale, shape, "sdpa"), prompts, num_tokens)
    del eager
    ours = engine_tokens(scale, prompts.tolist(), num_tokens)
    # Small, there are modules alone, and no Triton perhaps.
    with nullcontext() if scale.smoke else patch("app.model.triton.fused.unsupported_reason", return_value="not now"):
        in_modules = engine_tokens(scale, prompts.tolist(), num_tokens)
    theirs, exact = agreed(by_sdpa, by_eager), agreed(by_eager, by_float32)
    for name, given, least_exact, least in (
        ("transformers' eager", by_eager, None, None),
        ("transformers' sdpa", by_sdpa, None, None),
        ("engine", ours, exact, theirs),
        ("engine with transformers' modules", in_modules, exact, theirs),
    ):
        unit = f"of {num_tokens}"
        tell(Figure("tokens", f"{name}: as float32's", (agreed(given, by_float32),), unit, at_least=least_exact))
        if given is not by_eager:
            tell(Figure("tokens", f"{name}: as eager attention's", (agreed(given, by_eager),), unit, at_least=least))


def generated(model: PreTrainedModel, prompts: torch.Tensor, num_tokens: int) -> list[list[int]]:
    ended = model.generate(
        prompts.to(model.device), max_new_tokens=num_tokens, min_new_tokens=num_tokens, do_sample=False
    )
    return ended[:, prompts.shape[1] :].tolist()  # type: ignore[no-any-return]


def engine_tokens(scale: Scale, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
    """Sixteen at a time: as few rows go through products of our own."""
    engine = Engine.of(scale, scale.shape("0.6B"), max_num_seqs=16, kv_cache_memory=scale.of(4 << 30, 8 << 20))
    for seq_id, prompt in enumerate(prompts):
        engine.core.apply(Generate(seq_id, prompt, SamplingParams(num_tokens, temperature=0.0)))
    outputs = tokens_of(engine.steps())
    del engine
    give_memory_back(scale)
    return [outputs[seq_id] for seq_id in range(len(prompts))]


def agreed(left: list[list[int]], right: list[list[int]]) -> float:
    """Mean number of tokens that two sets of outputs have in common from the beginning."""
    pairs = [zip(*outputs, strict=True) for outputs in zip(left, right, strict=True)]
    return sum(len([*takewhile(lambda pair: pair[0] == pair[1], pair)]) for pair in pairs) / len(pairs)
