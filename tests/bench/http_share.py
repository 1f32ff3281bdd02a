"""What is left of the engine's own rate when its tokens go through HTTP: both in turn, on the same machine.

python -m tests.bench.http_share MODEL
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path
from time import perf_counter

from app.config import Config
from app.engine.core import EngineCore
from app.engine.startup import start_engine
from app.messages import Generate, SamplingParams
from tests.bench.peer_servers import MAX_MODEL_LEN, bench, millrace
from tests.bench.report import print_circumstances, print_table, spread

NAME = "25M, HTTP beside the engine alone"
AIMS = {64: 0.9, 256: 0.8}
PROMPT_TOKENS, OUTPUT_TOKENS = 128, 128


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the engine [as many as cores]")
    parser.add_argument("--few", action="store_true", help="a few streams only, to see that it runs")
    options = parser.parse_args(arguments)
    print_circumstances(0, model=options.model)
    show(options.model, options.repeat, options.threads, options.few)


def show(model: Path, repeat: int, threads: int, few: bool) -> None:
    print(NAME, flush=True)
    rows = []
    for num_streams, aim in ({2: 0.0} if few else AIMS).items():
        served, alone = measure(model, num_streams, repeat, threads)
        ratios = [one / other for one, other in zip(served, alone, strict=True)]
        rates = (spread(rates, 0) for rates in (served, alone))
        rows.append([f"{num_streams} streams, output tokens/s", *rates, spread(ratios, 2), f"≥ {aim}"])
    print_table(["", "HTTP", "engine", "ratio", "aim"], rows)


def measure(model: Path, num_streams: int, repeat: int, threads: int) -> tuple[list[float], list[float]]:
    """Output tokens per second through HTTP and without, each all at once; a first pair warms up."""
    limits = {"max_num_seqs": num_streams, "max_model_len": MAX_MODEL_LEN, "threads": threads}
    config = Config(model=str(model), log_level="error", **limits)  # type: ignore[call-arg, arg-type]
    core, ready = start_engine(config, lambda _loading: None)
    choice = random.Random(num_streams)
    lengths = ("--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS))
    served, alone = [], []
    with millrace(model, "none", num_streams, threads) as url:
        for number in range(repeat + 1):
            found = bench(url, "streams", "--concurrency", str(num_streams), "--seed", str(number), *lengths)
            [stage] = found["measurements"][0]["stages"]
            rate = run_alone(core, num_streams, ready.vocab_size, choice)
            if number:
                served.append(float(stage["output_throughput"]))
                alone.append(rate)
    return served, alone


def run_alone(core: EngineCore, num_streams: int, vocab_size: int, choice: random.Random) -> float:
    """The same sequences handed to the engine in this process, as fast as it goes."""
    began = perf_counter()
    for seq_id in range(num_streams):
        prompt = choice.choices(range(vocab_size), k=PROMPT_TOKENS)
        core.apply(Generate(seq_id, prompt, SamplingParams(OUTPUT_TOKENS, temperature=0)))
    num_tokens = 0
    while core.scheduler.has_work:
        num_tokens += len(core.step().token_ids)
    return num_tokens / (perf_counter() - began)


if __name__ == "__main__":
    main()
