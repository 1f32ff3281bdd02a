"""Evaluates a model on held-out questions: `python -m app.demo.evaluate [DIRECTORY] [--card]`."""

import argparse
import math
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import AutoTokenizer

from app.config import DEMO_MODEL, load_config
from app.demo.card import put_results
from app.demo.corpus import documents
from app.demo.corpus.document import PlainText
from app.demo.exams import EXAMS, Exam, Question
from app.demo.packing import IGNORED, Sample, encode
from app.engine.startup import start_engine
from app.messages import Generate, SamplingParams
from app.text.tokenizer import Tokenizer

HELD_OUT_SEED = 999_999
"""Seed of documents that no interval of a training run starts with."""
_REPLY_TOKENS = 400


@dataclass(frozen=True)
class Result:
    """The result of one exam."""

    exam: Exam
    wrong: list[tuple[Question, str]]
    asked: int

    @property
    def share(self) -> float:
        return 1 - len(self.wrong) / self.asked

    @property
    def row(self) -> str:
        missed = max(0.0, self.exam.wanted - self.share)
        return (
            f"| {self.exam.name} | {self.asked - len(self.wrong)} of {self.asked} | {self.share:.1%} "
            f"| {self.exam.wanted:.0%} | {f'{missed:.1%}' if missed else ''} |"
        )


class Examination:
    """A model and its tokenizer as used by the server; replies are greedy."""

    def __init__(self, directory: Path, threads: int, device: str = "cpu") -> None:
        self._directory = directory
        self._tokenizer = Tokenizer.load(str(directory))
        config = load_config({"model": str(directory), "threads": threads, "device": device})
        self._core, ready = start_engine(config, lambda _: None)
        self._max_tokens = ready.max_model_len
        self.vocab_size = ready.vocab_size

    def sit(self, exam: Exam, count: int, seed: int) -> Result:
        """Ask `count` questions of an exam; the same seed gives the same questions."""
        rng = random.Random(seed + zlib.crc32(exam.name.encode()))
        questions = [exam.ask(rng) for _ in range(count)]
        replies = self.replies([self.prompt(question) for question in questions])
        wrong = [(q, reply) for q, reply in zip(questions, replies, strict=True) if not q.right(reply)]
        return Result(exam, wrong, count)

    def prompt(self, question: Question) -> list[int]:
        """The prompt tokens of a question."""
        document = question.document
        if isinstance(document, PlainText):
            return self._tokenizer.encode(document.text)
        thinking = {"enable_thinking": True} if document.thinking else {}
        return self._tokenizer.encode_chat(document.messages, tools=document.tools, **thinking)

    def replies(self, prompts: Sequence[list[int]]) -> list[str]:
        """The replies to the prompts, which the engine processes as a batch."""
        end = self._tokenizer.eos_token_ids
        params = SamplingParams(max_tokens=_REPLY_TOKENS, temperature=0.0, stop_token_ids=end)
        for seq_id, prompt in enumerate(prompts):
            self._core.apply(Generate(seq_id, prompt, params))
        written: list[list[int]] = [[] for _ in prompts]
        while self._core.has_work:
            step = self._core.step()
            for seq_id, token_id in zip(step.seq_ids, step.token_ids, strict=True):
                written[seq_id].append(token_id)
        return [self._tokenizer.decode(token_ids) for token_ids in written]

    def perplexity(self, samples: Sequence[Sample]) -> float:
        """The perplexity per token that the model should write."""
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        for seq_id, sample in enumerate(samples):
            self._core.apply(Generate(seq_id, sample.token_ids, params))
        reports: list[list[float]] = [[] for _ in samples]
        while self._core.has_work:
            for seq_id, found in self._core.step().prompt_logprobs.items():
                reports[seq_id] += [report.logprob for report in found]
        logprobs = [
            logprob
            for sample, report in zip(samples, reports, strict=True)
            for label, logprob in zip(sample.labels[1:], report, strict=True)
            if label != IGNORED
        ]
        return math.exp(-sum(logprobs) / len(logprobs))

    def samples(self, seed: int, count: int) -> list[Sample]:
        """Encoded documents of the generator."""
        tokenizer = AutoTokenizer.from_pretrained(self._directory)
        samples = (encode(document, tokenizer) for document in islice(documents(seed), count))
        return [sample for sample in samples if len(sample.token_ids) < self._max_tokens]


def unigram_perplexity(samples: Iterable[Sample], known: Iterable[Sample], vocab_size: int) -> float:
    """Perplexity of the learned tokens of `samples` under their frequencies in `known`, with add-one smoothing."""
    counts = Counter(label for sample in known for label in sample.labels if label != IGNORED)
    total = counts.total() + vocab_size
    written = [label for sample in samples for label in sample.labels[1:] if label != IGNORED]
    return math.exp(-sum(math.log((counts[label] + 1) / total) for label in written) / len(written))


def report(examination: Examination, count: int, seed: int, show: int) -> str:
    """The results of all exams as a Markdown table, also printed row by row, with `show` wrong replies of each exam."""
    lines = ["| held out, greedy | right | | wanted | missed by |", "|---|---|---|---|---|"]
    print(*lines, sep="\n")
    for exam in EXAMS:
        result = examination.sit(exam, count, seed)
        lines.append(result.row)
        print(result.row, flush=True)
        for question, reply in result.wrong[:show]:
            print(f"    {question.document}\n    -> {reply!r}")
    samples = examination.samples(HELD_OUT_SEED, 400)
    unigram = unigram_perplexity(samples, examination.samples(0, 4000), examination.vocab_size)
    lines.append(
        f"\nPerplexity of what it should write in {len(samples)} fresh documents: "
        f"{examination.perplexity(samples):.2f} (by the frequency of tokens alone: {unigram:.0f}). "
        f"Seed {seed}: `python -m app.demo.evaluate --count {count} --seed {seed}`."
    )
    print(lines[-1])
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Examine the embedded model of Millrace on what is held out.")
    parser.add_argument("directory", type=Path, nargs="?", default=DEMO_MODEL, help="model [the one in the package]")
    parser.add_argument("--count", type=int, default=300, help="questions of each exam")
    parser.add_argument("--seed", type=int, default=0, help="of the questions")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--show", type=int, default=0, help="wrong replies to print of each exam")
    parser.add_argument("--card", action="store_true", help="put the table into the model's card")
    options = parser.parse_args()
    results = report(
        Examination(options.directory, options.threads, options.device), options.count, options.seed, options.show
    )
    if options.card:
        put_results(options.directory, results)


if __name__ == "__main__":
    main()
