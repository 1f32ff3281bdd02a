"""Constrained sequences in an engine process: after its death, and where the model has no tokenizer."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from app.config import Config
from app.engine.client import EngineClient
from app.messages import FinishReason, SamplingParams
from tests.constrained_engine import byte_tokenizer, regex, text_of
from tests.models import greedy
from tests.reading import read
from tests.test_engine_client import Witness, collect, rest_of

PATTERN = r"[a-z]{30,40}: the answer is [0-9]{2}"
DRAWN = SamplingParams(max_tokens=100, seed=3, stop_token_ids=frozenset([0]))


async def started(config: Config) -> tuple[EngineClient, Witness]:
    witness = Witness()
    client = EngineClient(config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    return client, witness


async def test_constrained_streams_survive_a_killed_engine(
    llama_dir: Path, llama_config: Config, tmp_path: Path
) -> None:
    directory = tmp_path / "bytes"
    shutil.copytree(llama_dir, directory)
    byte_tokenizer().save_pretrained(directory)
    client, witness = await started(llama_config.model_copy(update={"model": str(directory)}))
    prompts = [(5, 6, extra) for extra in range(1, 5)]
    constraint = regex(PATTERN)
    undisturbed = await asyncio.gather(*(collect(client.generate(p, DRAWN, constraint=constraint)) for p in prompts))
    readers = [read(client.generate(prompt, DRAWN, constraint=constraint)) for prompt in prompts]
    begun = await asyncio.gather(*map(anext, readers))
    await witness.until_replaced(client.engine_pid)
    rest = await asyncio.wait_for(asyncio.gather(*map(rest_of, readers)), 60)
    assert [[*first.token_ids, *later] for first, later in zip(begun, rest, strict=True)] == undisturbed
    assert all(re.fullmatch(PATTERN, text_of(token_ids)) for token_ids in undisturbed)
    assert witness.num_recovered == len(prompts)
    await client.stop(0)


@pytest.mark.slow
async def test_a_model_without_a_tokenizer_serves_all_but_constraints(llama_config: Config) -> None:
    client, _ = await started(llama_config)
    free, constrained = client.generate((5, 6), greedy(9)), client.generate((5, 6), greedy(9), constraint=regex("a+"))
    assert len(await collect(free)) == 9
    assert await collect(constrained) == []
    assert constrained.finish_reason is FinishReason.ERROR
    await client.stop(0)
