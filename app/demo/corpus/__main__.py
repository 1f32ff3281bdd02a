"""`python -m app.demo.corpus`: what the training text is made of, with one example of each kind."""

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from app.demo.corpus import Chat, Document, documents


def learned(document: Document) -> int:
    """Characters that the model learns to write: the answers of a chat, and all of a plain text."""
    if not isinstance(document, Chat):
        return len(document.text)
    return sum(len(message["content"]) for message in document.messages if message["role"] == "assistant")


def shares(corpus: Iterable[Document]) -> dict[str, float]:
    """Each kind's share of what is learned, the largest first."""
    counts = Counter[str]()
    for document in corpus:
        counts[document.kind] += learned(document)
    return {kind: count / counts.total() for kind, count in counts.most_common()}


def shown(document: Document) -> str:
    """A document for people to read."""
    if not isinstance(document, Chat):
        return document.text
    return "\n".join(f"{message['role']}: {message['content']}" for message in document.messages)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Show what the embedded model is trained on.")
    parser.add_argument("--seed", type=int, default=0, help="seed of the text [0]")
    parser.add_argument("--documents", type=int, default=5000, help="how many to look at [5000]")
    options = parser.parse_args()
    corpus = list(islice(documents(options.seed), options.documents))
    examples = {document.kind: document for document in corpus}
    for kind, share in shares(corpus).items():
        print(f"== {kind}: {share:.1%} of what is learned\n{shown(examples[kind])}\n")


if __name__ == "__main__":
    main()
