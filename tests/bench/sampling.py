"""What does it cost a step that tokens are drawn, instead of the most likely ones taken?

One engine decodes as many streams with each set of parameters in turn. Random weights make all tokens about equally
likely, so that a nucleus is most of the vocabulary, unless a low temperature tells them apart.

python -m tests.bench.sampling MODEL
"""

from __future__ import annotations

import argparse
from itertools import count
from random import Random
from time import perf_counter
from typing import Any

from app.config import Config
from app.engine.process import let_idle_threads_sleep
from app.messages import Generate, SamplingParams
from tests.bench.report import print_circumstances, print_table, spread

PROMPT = 64
GREEDY = "greedy"
PARAMS: dict[str, dict[str, Any]] = {
    GREEDY: {"temperature": 0.0},
    "temperature 1": {},
    "top_p 0.9, few tokens": {"temperature": 0.05, "top_p": 0.9},
    "top_p 0.95, most tokens": {"top_p": 0.95},
    "top_k 20, top_p 0.8": {"top_k": 20, "top_p": 0.8},
    "the same, repetition 1.1": {"top_k": 20, "top_p": 0.8, "repetition_penalty": 1.1},
    "frequency 0.5": {"frequency_penalty": 0.5},
    "logprobs 5": {"logprobs": 5},
}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    let_idle_threads_sleep()
    from app.engine.startup import start_engine

    config = Config(model=options.model, max_num_seqs=max(options.streams))
    core, ready = start_engine(config, lambda _: None)
    print_circumstances(
        options.seed,
        model=f"{options.model}, {ready.dtype}, {ready.backend} backend on {ready.num_threads} threads",
        load=f"prompts of {PROMPT} tokens, {options.repeat} runs of {options.steps} steps each",
    )
    random, seq_ids = Random(options.seed), count()

    def milliseconds(num_streams: int, params: dict[str, Any]) -> float:
        """Of a step, in one run."""
        for seq_id in [next(seq_ids) for _ in range(num_streams)]:
            prompt = random.choices(range(ready.vocab_size), k=PROMPT)
            core.apply(Generate(seq_id, prompt, SamplingParams(options.steps + num_streams, seed=seq_id, **params)))
        while core.step().stats.num_decode_tokens < num_streams:
            pass
        began = perf_counter()
        for _ in range(options.steps):
            core.step()
        took = perf_counter() - began
        while core.has_work:
            core.step()
        return 1e3 * took / options.steps

    for num_streams in options.streams:
        times: dict[str, list[float]] = {name: [] for name in PARAMS}
        for _ in range(options.repeat):
            for name, params in PARAMS.items():
                times[name].append(milliseconds(num_streams, params))
        rows = [
            (name, spread(times[name], 2), spread([a / b for a, b in zip(times[name], times[GREEDY], strict=True)], 2))
            for name in PARAMS
        ]
        print()
        print_table((f"{num_streams} at once", "step, ms", "times greedy"), rows)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory, or the name of a model")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64], help="sequences that decode")
    parser.add_argument("--steps", type=int, default=100, help="measured in each run")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each")
    parser.add_argument("--seed", type=int, default=0, help="of prompts and draws")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
