"""`millrace serve` with the paced engine: `python -m tests.bench.paced_server [--pace 4000] [--split] serve …`."""

from __future__ import annotations

import argparse
from functools import partial

from app.cli import main as millrace
from app.config import DEMO_MODEL
from app.engine import child
from app.text.tokenizer import Tokenizer
from tests.bench.cpu_split import print_split, sampled_cpu
from tests.bench.paced_engine import run_paced_engine

TEXT = "A KV cache stores the keys and values of the tokens that the model has read. It was a cold night by the mill. "


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=4000, help="tokens/s, over all sequences")
    parser.add_argument("--split", action="store_true", help="print what the CPU time was spent on")
    options, arguments = parser.parse_known_args()
    script = Tokenizer.load(str(DEMO_MODEL)).encode(TEXT)
    child.run_engine = partial(run_paced_engine, script=script, tokens_per_second=options.pace)
    if not options.split:
        millrace(arguments)
        return
    with sampled_cpu() as samples:
        millrace(arguments)
    print_split(samples)


if __name__ == "__main__":
    main()
