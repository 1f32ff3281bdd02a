"""The text of a run as batches, made ahead of the training by several processes.

The text of each interval follows from a seed of its own, so it does not matter who makes it: a run has the same batches
however many processes there are.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor

from transformers import PreTrainedTokenizerFast

from app.demo.corpus import documents
from app.demo.echo import echoes, mixed
from app.demo.packing import Batch, Packer, encoded
from app.demo.recipe import Recipe
from app.demo.tokenizer import FIRST_WORD

_AHEAD = 2
"""Intervals that wait beside those in the making: one is used while the other is sent."""


def batches(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, first: int, workers: int
) -> Generator[Batch, None, None]:
    """The batches of all steps from `first` on, which begins an interval; `workers` 0 makes them in this process."""
    begins = range(first, recipe.steps, recipe.interval)
    if workers:
        yield from _made_ahead(recipe, tokenizer, begins, workers)
    else:
        for begin in begins:
            yield from interval(recipe, tokenizer, begin)


def interval(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, begin: int) -> Generator[Batch, None, None]:
    """The batches of the interval that begins with the step `begin`, drawn anew."""
    seed = recipe.text_seed(begin)
    samples = echoes(seed, range(FIRST_WORD, len(tokenizer)))
    if begin >= recipe.copying_steps:
        samples = mixed(encoded(documents(seed), tokenizer), samples)
    packer = Packer(samples, tokenizer.pad_token_id, recipe.tokens_per_step, recipe.row_lengths)
    for _ in range(begin, min(begin + recipe.interval, recipe.steps)):
        yield packer.batch()


def _made_ahead(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, begins: range, workers: int
) -> Generator[Batch, None, None]:
    pool = ProcessPoolExecutor(
        workers,
        # A process that holds threads and a device cannot be forked.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(recipe, tokenizer),
    )
    due: deque[Future[list[Batch]]] = deque()
    try:
        for begin in begins:
            due.append(pool.submit(_make, begin))
            if len(due) >= workers + _AHEAD:
                yield from due.popleft().result()
        while due:
            yield from due.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple[Recipe, PreTrainedTokenizerFast]
"""What a worker process makes batches with."""


def _begin_worker(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    global _worker
    # One text at a time is encoded, for which the tokenizer would start a thread for each core.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = recipe, tokenizer


def _make(begin: int) -> list[Batch]:
    return list(interval(*_worker, begin))
