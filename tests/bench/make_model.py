"""Make a model to measure with: random weights in a given shape, with a tokenizer.

python -m tests.bench.make_model 0.6B ./random-0.6B --dtype bfloat16
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tests.bench.random_model import save_model
from tests.bench.shapes import SHAPES


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights [float32]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    dtype = getattr(torch, options.dtype)
    num_parameters = save_model(options.directory, SHAPES[options.shape], options.seed, dtype)
    print(f"{options.directory}: {num_parameters / 1e6:.1f}M parameters, {options.dtype}, seed {options.seed}")


if __name__ == "__main__":
    main()
