"""The kernels compile for the chips that they are for; no chip is needed to see that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

MAX_SPILLED_BYTES = 512
"""Bytes of registers. The tiles were timed with Triton 3.6; newer ones spill some in prompts' attention."""


def told_by(script: str, *arguments: object) -> list[dict[str, Any]]:
    """In a process of its own, since this one may be Triton's interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", script, *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles_for_the_chip_and_fits_it(capability: int) -> None:
    from tests.triton_compile import MEMORY

    kernels = told_by("tests.triton_compile", capability)
    small = {"norm", "rotate_and_store", "silu_multiply", "one_row"} | {
        "draw_beyond",
        "most_likely",
        "gather_most_likely",
    }
    assert {kernel["kind"] for kernel in kernels} == {"decode_few", "decode", "prefill", "few_rows"} | small
    for kernel in kernels:
        assert kernel["shared"] <= MEMORY[capability], kernel
        if kernel.get("dtype") == "fp32":
            continue  # it is to run; nobody is to be fast in it
        assert kernel["spilled"] <= MAX_SPILLED_BYTES, kernel
        if kernel["kind"] not in small:
            assert kernel["multiplies_in_tiles"], kernel
            assert kernel["copies_ahead"], kernel


@pytest.mark.slow
@pytest.mark.parametrize("capability", [86, 90])
def test_attention_takes_no_more_room_than_its_tiles_were_chosen_by(capability: int) -> None:
    """Of a chip with the least shared memory, too, where only the largest heads in the largest groups have no tiles."""
    from tests.triton_compile import MEMORY

    for told in told_by("tests.triton_room", capability):
        if told["shared"] is None:
            assert capability == 86, told
            assert told["group"] == 71, told
            assert max(told["sizes"]) > 128, told
        else:
            assert told["shared"] <= told["reckoned"] <= MEMORY[capability], told


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fused Qwen2", "fused Qwen3", "triton GPT-2", "triton Gemma-2"])
def test_no_step_after_the_start_has_to_compile_a_kernel(model: str) -> None:
    """It would hold up every stream by a second. Steps are random, under several limits and sizes of blocks."""
    for told in told_by("tests.triton_variants", *model.split()):
        assert told["later"] > 3, "kernels are asked for"
        assert not told["missing"], told
