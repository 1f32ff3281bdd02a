"""What fewer bits per weight cost: perplexity of the embedded model, and how often its first choice stays the same.

python -m tests.bench.quantization [--documents 400]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import islice

from transformers import AutoTokenizer

from app.config import DEMO_MODEL, load_config
from app.demo.corpus import documents
from app.demo.packing import IGNORED, Sample, encode
from app.engine.startup import start_engine
from app.messages import Generate, SamplingParams, TokenLogprobs
from tests.bench.report import print_circumstances, print_table

PRECISIONS = (("float32", "none"), ("bfloat16", "none"), ("bfloat16", "int8"), ("bfloat16", "int4"))
SEED = 1_000_003
"""Of documents that no training run began with."""


def logprobs_of(samples: Sequence[Sample], dtype: str, quantization: str) -> tuple[list[TokenLogprobs], int]:
    """What the engine says of each token that the model should write, with the best alternative; its weights' bytes."""
    config = load_config({"dtype": dtype, "quantization": quantization, "backend": "native"})
    core, ready = start_engine(config, lambda _: None)
    params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=1)
    for seq_id, sample in enumerate(samples, 1):
        core.apply(Generate(seq_id, sample.token_ids, params))
    reports: dict[int, list[TokenLogprobs]] = {seq_id: [] for seq_id in range(1, len(samples) + 1)}
    while core.has_work:
        for seq_id, found in core.step().prompt_logprobs.items():
            reports[seq_id] += found
    return list(_learned(samples, reports)), ready.model_bytes


def _learned(samples: Sequence[Sample], reports: dict[int, list[TokenLogprobs]]) -> Iterator[TokenLogprobs]:
    for seq_id, sample in enumerate(samples, 1):
        for label, report in zip(sample.labels[1:], reports[seq_id], strict=True):
            if label != IGNORED:
                yield report


def perplexity(reports: Sequence[TokenLogprobs]) -> float:
    return math.exp(-sum(report.logprob for report in reports) / len(reports))


def agreement(reports: Sequence[TokenLogprobs], reference: Sequence[TokenLogprobs]) -> float:
    """Share of positions where greedy decoding would take the same token after the same text."""
    same = sum(report.top[0][0] == other.top[0][0] for report, other in zip(reports, reference, strict=True))
    return same / len(reference)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400, help="drawn from the generator of training text [400]")
    options = parser.parse_args(arguments)
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    samples = [encode(document, tokenizer) for document in islice(documents(SEED), options.documents)]
    measured = [(*precision, *logprobs_of(samples, *precision)) for precision in PRECISIONS]
    reference = measured[0][2]
    print_circumstances(SEED, model="embedded", text=f"{options.documents} documents, {len(reference):,} tokens")
    print_table(
        ("weights", "MiB", "perplexity", "same first choice as float32"),
        [
            (
                dtype if quantization == "none" else quantization,
                f"{num_bytes / 2**20:.1f}",
                f"{perplexity(reports):.4f}",
                f"{agreement(reports, reference):.2%}",
            )
            for dtype, quantization, reports, num_bytes in measured
        ],
    )


if __name__ == "__main__":
    main()
