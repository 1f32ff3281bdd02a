"""`millrace serve` with the paced engine: `python -m tests.bench.paced_server [--pace 4000] [--split] serve …`."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from functools import partial

from app.cli import main as millrace
from app.config import DEMO_MODEL
from app.engine import child
from app.text.tokenizer import Tokenizer
from tests.bench.cpu_split import sampled_cpu
from tests.bench.paced_engine import run_paced_engine

TEXT = "A KV cache stores the keys and values of the tokens that the model has read. It was a cold night by the mill. "


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=4000, help="tokens/s, over all sequences")
    parser.add_argument("--split", action="store_true", help="print what the CPU time was spent on")
    options, arguments = parser.parse_known_args()
    script = Tokenizer.load(str(DEMO_MODEL)).encode(TEXT)
    child.run_engine = partial(run_paced_engine, script=script, tokens_per_second=options.pace)
    with ExitStack() as sampling:
        samples = sampling.enter_context(sampled_cpu()) if options.split else {}
        millrace(arguments)
    total = sum(samples.values())
    for part in sorted(samples, key=samples.__getitem__, reverse=True):
        print(f"{part:<24}{samples[part] / total:6.1%}")


if __name__ == "__main__":
    main()
