"""The batches of a run, prepared ahead of the training by several processes.

The text of each interval is generated from a seed of its own, so it does not matter which process generates it: the
batches of a run are independent of the number of processes.
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
"""Finished intervals to hold besides those being prepared: one is in use while the other is sent."""


def batches(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, first: int, workers: int
) -> Generator[Batch, None, None]:
    """The batches of all steps from `first` on, which must start an interval; 0 workers: prepared in this process."""
    begins = range(first, recipe.steps, recipe.interval)
    if workers:
        yield from _made_ahead(recipe, tokenizer, begins, workers)
    else:
        for begin in begins:
            yield from interval(recipe, tokenizer, begin)


def interval(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, begin: int) -> Generator[Batch, None, None]:
    """The batches of the interval that starts with step `begin`."""
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
        # A process with threads and a device must not be forked.
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
"""What a worker process needs to prepare batches."""


def _begin_worker(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    global _worker
    # Texts are encoded one at a time, for which the tokenizer would otherwise start a thread per core.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = recipe, tokenizer


def _make(begin: int) -> list[Batch]:
    return list(interval(*_worker, begin))
