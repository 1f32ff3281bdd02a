"""Small sums and counting, all of them right."""

import random

from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick, scruffy

_SIGN_WORDS = {"+": ("+", "plus"), "-": ("-", "minus"), "*": ("*", "times", "x")}
_ASK = (
    "What is {left} {sign} {right}?",
    "What's {left} {sign} {right}?",
    "{left} {sign} {right}",
    "{left} {sign} {right} =",
    "[Compute|Calculate] {left} {sign} {right}.",
    "How much is {left} {sign} {right}?",
    "Can you work out {left} {sign} {right}?",
)
_THINGS = ("apples", "stones", "shells", "books", "coins", "cookies", "flowers", "marbles", "pencils", "cups", "nuts")
_PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Mia", "Tom", "Nora", "Leo")


def _numbers(rng: random.Random) -> tuple[int, str, int, int]:
    """Left, sign, right and result; no negative results."""
    sign = rng.choice("++-*")
    if sign == "*":
        left, right = rng.randint(0, 10), rng.randint(0, 10)
        return left, sign, right, left * right
    left, right = rng.randint(0, 20), rng.randint(0, 20)
    if sign == "-":
        left, right = max(left, right), min(left, right)
        return left, sign, right, left - right
    return left, sign, right, left + right


def _sum_question(rng: random.Random) -> Exchange:
    left, sign, right, result = _numbers(rng)
    slots = {"left": str(left), "right": str(right), "sign": rng.choice(_SIGN_WORDS[sign])}
    return Exchange(scruffy(rng, pick(rng, _ASK, slots)), f"{left} {sign} {right} = {result}")


def _story_sum(rng: random.Random) -> Exchange:
    who, thing = rng.choice(_PEOPLE), rng.choice(_THINGS)
    first, second = rng.randint(2, 12), rng.randint(2, 12)
    if rng.random() < 0.5:
        asked = f"{who} has {first} {thing} and gets {second} more. How many {thing} does {who} have now?"
        return Exchange(asked, f"{who} has {first} + {second} = {first + second} {thing}.")
    first, second = max(first, second) + 1, min(first, second)
    asked = f"{who} has {first} {thing} and gives {second} away. How many {thing} are left?"
    return Exchange(asked, f"There are {first} - {second} = {first - second} {thing} left.")


def _counting(rng: random.Random) -> Exchange:
    start = rng.choice((1, 1, rng.randint(0, 20)))
    stop = start + rng.randint(3, 15)
    if rng.random() < 0.3:
        asked = pick(
            rng, ("Count [down |backwards ]from {stop} to {start}.",), {"start": str(start), "stop": str(stop)}
        )
        return Exchange(scruffy(rng, asked), ", ".join(str(number) for number in range(stop, start - 1, -1)))
    templates: tuple[str, ...] = (
        "Count from {start} to {stop}.",
        "[Can you count|Please count] from {start} to {stop}?",
    )
    if start == 1:
        templates += ("Count to {stop}.",)
    asked = pick(rng, templates, {"start": str(start), "stop": str(stop)})
    return Exchange(scruffy(rng, asked), ", ".join(str(number) for number in range(start, stop + 1)))


def _comparison(rng: random.Random) -> Exchange:
    left, right = rng.sample(range(100), 2)
    if rng.random() < 0.5:
        larger = max(left, right)
        return Exchange(f"Which is larger, {left} or {right}?", f"{larger} is larger than {min(left, right)}.")
    kind = "an even" if left % 2 == 0 else "an odd"
    return Exchange(f"Is {left} even or odd?", f"{left} is {kind} number.")


def sum_exchanges(rng: random.Random) -> list[Exchange]:
    """One question about numbers, or a short run of them."""
    forms = (_sum_question, _sum_question, _sum_question, _story_sum, _counting, _comparison)
    return [rng.choice(forms)(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]


def drill(rng: random.Random) -> str:
    """Sums or a row of numbers, one per line, as plain text."""
    if rng.random() < 0.2:
        start, stride = rng.randint(0, 20), rng.choice((1, 1, 2, 5, 10))
        return ", ".join(str(start + stride * at) for at in range(rng.randint(8, 20)))
    lines = []
    for _ in range(rng.randint(5, 25)):
        left, sign, right, result = _numbers(rng)
        lines.append(f"{left} {sign} {right} = {result}")
    return "\n".join(lines)
