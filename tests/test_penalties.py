"""Penalties over sequences that grow: the numbers are those of their definition, and no step reads a history again."""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from random import Random
from typing import Any

import pytest
import torch

from app.messages import SamplingParams
from app.model.in_flight import Unknown
from app.model.sampling.occurrences import Occurrences
from app.model.sampling.penalties import Penalties
from app.scheduler.batch import Sampled
from app.scheduler.sequence import Sequence

VOCAB = 12
PADDED = 16
"""The compiled kernels' rows of logits lie apart."""

ALL: dict[str, Any] = {"repetition_penalty": 1.3, "presence_penalty": 0.7, "frequency_penalty": 0.4}
PARAMS: list[dict[str, Any]] = [
    ALL,
    {"repetition_penalty": 0.8},
    {"presence_penalty": -0.3},
    {"frequency_penalty": 1.1},
    {},
]


def by_definition(logits: torch.Tensor, prompt: list[int], output: list[int], params: SamplingParams) -> torch.Tensor:
    """Token by token, in float32 as everything is."""
    row = logits.clone()
    for token_id in {*prompt, *output}:
        penalty = torch.tensor(params.repetition_penalty)
        row[token_id] = row[token_id] / penalty if row[token_id] > 0 else row[token_id] * penalty
    frequency, presence = torch.tensor(params.frequency_penalty), torch.tensor(params.presence_penalty)
    for token_id, count in Counter(output).items():
        row[token_id] = (row[token_id] - presence) - frequency * count
    return row


def random_logits(num_rows: int, seed: int) -> torch.Tensor:
    padded = torch.randn(num_rows, PADDED, generator=torch.Generator().manual_seed(seed))
    return padded[:, :VOCAB]


def make_sequences(random: Random, prompt_tokens: int = 6) -> list[Sequence]:
    prompts = [[random.randrange(VOCAB) for _ in range(prompt_tokens)] for _ in PARAMS]
    return [
        Sequence(index, prompt, SamplingParams(max_tokens=100, **params))
        for index, (prompt, params) in enumerate(zip(prompts, PARAMS, strict=True))
    ]


def expected(logits: torch.Tensor, sampled: list[Sampled], last_ids: dict[int, int] | None = None) -> torch.Tensor:
    rows = []
    for index, each in enumerate(sampled):
        tokens = [*each.sequence.token_ids, *each.drafted]
        tokens += [(last_ids or {})[index]] if each.ends_unknown else []
        split = each.num_prompt_tokens
        rows.append(by_definition(logits[index], tokens[:split], tokens[split:], each.params))
    return torch.stack(rows)


def grow(sequence: Sequence, token_id: int) -> None:
    sequence.num_tokens += 1
    sequence.append(token_id)


def test_a_sequence_that_grows_has_the_logits_of_the_definition_at_each_step() -> None:
    random, penalties = Random(0), Penalties()
    sequences = make_sequences(random)
    for step in range(40):
        logits = random_logits(len(sequences), seed=step)
        sampled = [Sampled(each, each.num_tokens, ends_unknown=False) for each in sequences]
        right = expected(logits, sampled)
        penalties.apply(logits, sampled, None)
        assert torch.equal(logits, right)
        for each in sequences:
            grow(each, random.randrange(VOCAB))


def test_what_the_device_alone_knows_counts_as_if_the_host_knew_it() -> None:
    """Steps that overlap: some rows end in a token that the step before samples, known or new to the sequence."""
    random, penalties = Random(1), Penalties()
    sequences = make_sequences(random)
    for step in range(40):
        logits = random_logits(len(sequences), seed=step)
        unknown_rows = [index for index in range(len(sequences)) if random.random() < 0.7]
        last_ids = {index: random.randrange(VOCAB) for index in unknown_rows}
        sampled = [
            Sampled(each, each.num_tokens + (index in last_ids), ends_unknown=index in last_ids)
            for index, each in enumerate(sequences)
        ]
        unknown = None
        if unknown_rows:
            order = list(reversed(range(len(unknown_rows))))
            sampled_before = torch.tensor([last_ids[index] for index in reversed(unknown_rows)])
            unknown = Unknown(sampled_before, order, unknown_rows)
        right = expected(logits, sampled, last_ids)
        penalties.apply(logits, sampled, unknown)
        assert torch.equal(logits, right)
        for index, token_id in last_ids.items():
            grow(sequences[index], token_id)


def test_guesses_count_where_they_stand_and_are_forgotten_when_they_are_wrong() -> None:
    random, penalties = Random(2), Penalties()
    sequences = make_sequences(random)
    for step in range(20):
        draft = tuple(random.randrange(VOCAB) for _ in range(3))
        sampled = [
            Sampled(each, each.num_tokens + num_guessed, False, draft[:num_guessed])
            for each in sequences
            for num_guessed in range(4)
        ]
        logits = random_logits(len(sampled), seed=step)
        right = expected(logits, sampled)
        penalties.apply(logits, sampled, None)
        assert torch.equal(logits, right)
        for each in sequences:
            for token_id in (*draft[: random.randrange(4)], random.randrange(VOCAB)):
                grow(each, token_id)


class Watched(array):  # type: ignore[type-arg]  # is generic for type checkers only
    """Tokens that note how many of them are read."""

    num_read = 0

    def __getitem__(self, places: Any) -> Any:
        found = super().__getitem__(places)
        self.num_read += len(found) if isinstance(places, slice) else 1
        return found


def test_a_step_reads_what_is_new_and_not_the_history() -> None:
    random, penalties = Random(3), Penalties()
    prompt = [random.randrange(VOCAB) for _ in range(50_000)]
    sequence = Sequence(1, prompt, SamplingParams(max_tokens=100, **ALL))
    watched = sequence.token_ids = Watched("i", sequence.token_ids)
    for step in range(10):
        read_before = watched.num_read
        penalties.apply(random_logits(1, seed=step), [Sampled(sequence, sequence.num_tokens, False)], None)
        if step:
            assert watched.num_read - read_before == 2, "for prompt and output together, and for the output alone"
        grow(sequence, random.randrange(VOCAB))
    assert watched.num_read >= len(prompt)


def num_remembered() -> int:
    return sum(type(each) is Occurrences for each in gc.get_objects())


@pytest.mark.parametrize(("params", "num_kinds"), list(zip(PARAMS, (2, 1, 1, 1, 0), strict=True)))
def test_what_is_remembered_goes_with_its_sequence(params: dict[str, Any], num_kinds: int) -> None:
    penalties, before = Penalties(), num_remembered()
    for seq_id in range(3):
        sequence = Sequence(seq_id, range(5), SamplingParams(max_tokens=100, **params), output_token_ids=(1,))
        for _ in range(2):
            penalties.apply(random_logits(1, seed=0), [Sampled(sequence, sequence.num_tokens, False)], None)
        assert num_remembered() - before == num_kinds
    del sequence
    assert num_remembered() == before
