"""Building the parser of a grammar, which is where llguidance says what it cannot do."""

from __future__ import annotations

import threading

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

_LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,  # 20 ms of building the lexer
    step_lexer_fuel=500_000,  # 20 ms of it in one mask, and in what is taken until the next
    step_max_items=12_000,  # 20 ms of parsing in one mask
    max_items_in_row=5_000,  # an object of 1,000 optional properties has 4,007
    max_lexer_states=50_000,  # 100 MB at most, per grammar
    max_grammar_size=500_000,
    verbose_errors=False,
)
"""For building and for every mask. A sequence whose grammar goes beyond them later ends with an error."""

# llguidance recurses, by up to 5 kB for each rule, group, schema and reference that leads to another, and the process
# ends where the stack does. A constraint of the greatest length has room for 20,000 of them, were there not also the
# bounds on depth in schema.py and lark.py. Only what is used of a stack takes memory.
_STACK_BYTES = 256 * 1024 * 1024
_stack_size = threading.Lock()


def build(tokenizer: LLTokenizer, text: str) -> LLMatcher:
    """A matcher of a compiled constraint, with an error to be asked for. Does not hold the interpreter's lock."""
    built: list[LLMatcher] = []

    def run() -> None:
        built.append(LLMatcher(tokenizer, text, log_level=0, limits=_LIMITS))

    thread = threading.Thread(target=run, name="grammar")
    with _stack_size:
        usual = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)
    thread.join()
    [matcher] = built
    return matcher
