"""Python functions: as answers in a chat, as plain text, and with a hole to be filled."""

from dataclasses import dataclass

from app.demo.corpus.code_collections import ON_LISTS, ON_NUMBERS, ON_TEXTS
from app.demo.corpus.code_families import FAMILIES, with_constant
from app.demo.corpus.code_samples import SAMPLES, CodeSample
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import made_up_word, pick, unmarked

ALL_SAMPLES = SAMPLES + ON_NUMBERS + ON_LISTS + ON_TEXTS
FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
_WISHES = (
    "Write a [Python |]function {signature} that returns {returns}.",
    "[Please write|Show me|Give me] a [Python |]function {signature} that returns {returns}.",
    "[Can|Could] you write a Python function {signature} that returns {returns}?",
    "[Implement|Write|Complete] this function: def {signature}. It returns {returns}.",
    "def {signature}: [return|should return|returns] {returns}",
    "I need {signature} in Python. It returns {returns}.",
    "Python function {signature}: {returns}",
)
_NAMELESS = (
    "Write a [Python |]function that returns {returns}.",
    "[Write|Show me|Give me] a [Python |]function [for|that gives] {returns}.",
    "[Can you write|Please write] a Python function that returns {returns}?",
    "How do I [compute|get] {returns} in Python?",
    "Python function: {returns}",
)
_TASKS = (
    "Write a [Python |]function to {task}.",
    "[Write|Show me|Give me|I need] a [Python |]function that can {task}.",
    "How do I {task} in Python?",
    "[How can I|How to] {task} in Python?",
    "Python [code|function] to {task}",
    "[Can you write|Please write] [Python code|a function] to {task}?",
)
_WHAT = (
    "What does [it|this function|that] do?",
    "[Explain|Describe] [it|this function][, please|].",
    "What is it for?",
)
_EXAMPLE = ("[Show|Give] me an example.", "How do I [call|use] it?", "[An|Can you give me an] example, please[.|?]")
_ANY_NAMES = ("f", "g", "solve", "compute", "answer", "calculate", "work", "helper", "run", "my_function", "test_me")


@dataclass(frozen=True)
class Function:
    """A function as it is written: its name, the line that opens it, its docstring and its body."""

    sample: CodeSample
    name: str
    signature: str
    opening: str
    body: str

    def source(self, *, documented: bool = True) -> str:
        """The whole function."""
        docstring = f'    """Return {self.sample.returns}."""\n' if documented else ""
        return f"{self.opening}\n{docstring}{self.body}"


def function(dice: Dice, *, annotated: bool = False, own_name: bool = True) -> Function:
    """A function whose name and parameters together are on this side."""
    while True:
        sample = dice.choice(ALL_SAMPLES) if dice.random() < 0.6 else with_constant(dice, dice.choice(FAMILIES))
        name = dice.choice(sample.names)
        if not own_name:
            name = dice.choice(_ANY_NAMES) if dice.random() < 0.4 else made_up_word(dice)
        names = [dice.choice(options) for options, _ in sample.parameters]
        if dice.may_use("function", name, *names):
            return _written(sample, name, names, annotated=annotated)


def _written(sample: CodeSample, name: str, names: list[str], *, annotated: bool) -> Function:
    body = "\n".join("    " + line for line in sample.body.split("\n"))
    for place, chosen in enumerate(names, start=1):
        body = body.replace(f"${place}", chosen)
    types = [kind for _, kind in sample.parameters]
    typed = [f"{chosen}: {kind}" for chosen, kind in zip(names, types, strict=True)]
    signature = f"{name}({', '.join(names)})"
    opening = f"def {name}({', '.join(typed)}) -> {sample.annotation}:" if annotated else f"def {signature}:"
    return Function(sample, name, signature, opening, body)


def wish(dice: Dice) -> tuple[str, Function]:
    """A wish for a function of a given name and parameters, and the function."""
    wished = function(dice, own_name=dice.random() < 0.75)
    slots = {"signature": wished.signature, "returns": wished.sample.returns}
    return unmarked(dice, pick(dice, _WISHES, slots)), wished


def fenced(wished: Function) -> str:
    """The answer to a wish."""
    return f"```python\n{wished.source()}\n```"


def module(dice: Dice) -> str:
    """One to four functions, as plain text."""
    return (
        "\n\n\n".join(
            function(dice, annotated=dice.random() < 0.4).source(documented=dice.random() < 0.85)
            for _ in range(dice.randint(1, 4))
        )
        + "\n"
    )


def holed(dice: Dice) -> tuple[str, str, str, Function]:
    """What stands before the hole, in it and after it, and the function; the hole is a piece of the body."""
    chosen = function(dice, annotated=dice.random() < 0.3)
    source = chosen.source() + "\n"
    first = len(source) - len(chosen.body) - 1
    lines = [at for at in range(first, len(source) - 1) if source[at - 1] == "\n"]
    start = dice.choice(lines) + 4
    end = source.index("\n", start)
    if dice.random() < 0.3:
        start, end = first + 4, len(source) - 1
    elif dice.random() < 0.4:
        start = dice.choice([at for at in range(start, end) if at == start or source[at - 1] in " (["])
    return source[:start], source[start:end], source[end:], chosen


def hole(dice: Dice) -> str:
    """A function with a hole, and then what belongs in it, in the order of Qwen and StarCoder."""
    before, middle, after, _ = holed(dice)
    return f"{FIM_PREFIX}{before}{FIM_SUFFIX}{after}{FIM_MIDDLE}{middle}"


def _task(dice: Dice, sample: CodeSample) -> str:
    """What the function does, as people ask for it."""
    if sample.tasks and dice.random() < 0.7:
        return dice.choice(sample.tasks)
    if sample.returns.startswith("whether "):
        return f"check {dice.choice(('if', 'whether'))}{sample.returns.removeprefix('whether')}"
    return f"{dice.choice(('compute', 'get', 'find', 'return'))} {sample.returns}"


def _call(wished: Function) -> str:
    arguments = ", ".join(map(_literal, wished.sample.arguments))
    return f"```python\n{wished.name}({arguments})  # {_literal(wished.sample.result)}\n```"


def _literal(value: object) -> str:
    """As it is written in the functions, with double quotes."""
    return repr(value).replace("'", '"')


def code_exchange(dice: Dice) -> list[Exchange]:
    """A wish for a function and the function, which is named by the wish or not; now and then a question about it."""
    asked, wished = wish(dice)
    if dice.random() < 0.4:
        wished = function(dice)
        templates = dice.choice((_NAMELESS, _TASKS))
        asked = unmarked(
            dice, pick(dice, templates, {"returns": wished.sample.returns, "task": _task(dice, wished.sample)})
        )
    exchanges = [Exchange(asked, fenced(wished))]
    if dice.random() < 0.12:
        exchanges.append(Exchange(pick(dice, _WHAT), f"It returns {wished.sample.returns}."))
    if wished.sample in ALL_SAMPLES and dice.random() < 0.12:
        exchanges.append(Exchange(pick(dice, _EXAMPLE), _call(wished)))
    return exchanges


def code_exchanges(dice: Dice) -> list[Exchange]:
    """One to three of them."""
    return [exchange for _ in range(dice.choice((1, 2, 3))) for exchange in code_exchange(dice)]
