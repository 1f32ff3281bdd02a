"""Asks a saved model a few questions, as any user of transformers would."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = (
    "Hello!",
    "What is a KV cache?",
    "Explain temperature, please.",
    "What is 7 plus 5?",
    "Tell me a short story about a fox.",
    "Write a Python function that returns the factorial of a number.",
    "What is the capital of France?",
)


def answers(
    directory: Path, questions: Iterable[str], dtype: torch.dtype = torch.bfloat16
) -> Iterator[tuple[str, str]]:
    """Each question with its greedy answer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    for question in questions:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        asked = inputs["input_ids"].shape[1]
        output = model.generate(**inputs, max_length=asked + 250, do_sample=False)
        yield question, tokenizer.decode(output[0, asked:], skip_special_tokens=True)
