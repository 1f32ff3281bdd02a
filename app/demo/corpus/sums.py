"""Questions about numbers, and answers that are right: alone, in small stories, and one per line."""

import random

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick, scruffy
from app.demo.corpus.names import a_name
from app.demo.corpus.worked import is_table, result, worked

_SIGN_WORDS = {"+": ("+", "+", "plus"), "-": ("-", "-", "minus"), "*": ("*", "times", "x"),
               "/": ("/", "divided by", ":")}  # fmt: skip
_ASK = (
    "What is {left} {sign} {right}?",
    "What is {left} {sign} {right}?",
    "What's {left} {sign} {right}?",
    "{left} {sign} {right}",
    "{left} {sign} {right} =",
    "{left} {sign} {right}?",
    "[Compute|Calculate|Work out|Solve] {left} {sign} {right}.",
    "[How much|What] is {left} {sign} {right}?",
    "[Can|Could] you [work out|compute|calculate|tell me] {left} {sign} {right}?",
    "[Please|Now] [work out|compute|add up for me] {left} {sign} {right}.",
    "[And|Then] what is {left} {sign} {right}?",
    "[And|What about] {left} {sign} {right}?",
    "I need the result of {left} {sign} {right}.",
    "Tell me {left} {sign} {right}, please.",
)
_NAMED = {
    "+": ("What is the sum of {left} and {right}?", "Add {left} and {right}.", "Add {right} to {left}."),
    "-": (
        "What is the difference between {left} and {right}?",
        "Subtract {right} from {left}.",
        "Take {right} away from {left}.",
    ),
    "/": ("Divide {left} by {right}.", "How many times does {right} go into {left}?"),
    "*": ("What is the product of {left} and {right}?", "Multiply {left} by {right}.", "Multiply {left} and {right}."),
}
_AND_THEN = {
    "+": ("[And |]plus {right}?", "[Now|And now|Then] add {right}.", "Add {right} to [that|it|the result]."),
    "-": ("[And |]minus {right}?", "[Now|And now|Then] subtract {right}.", "Take {right} away[| from it| from that]."),
    "*": ("[And |]times {right}?", "[Now|And now|Then] multiply [it |that |]by {right}."),
}
_THINGS = ("apples", "stones", "shells", "books", "coins", "cookies", "flowers", "marbles", "pencils", "cups", "nuts",
           "stamps", "cards", "pears", "buttons", "candles", "eggs", "keys")  # fmt: skip
_MORE = ("gets {second} more", "finds {second} more", "buys {second} more", "is given {second} more")
_FEWER = ("gives {second} away", "loses {second}", "sells {second}", "gives {second} to a friend")


def _pair(dice: Dice, sign: str) -> tuple[int, int]:
    size = dice.random()
    if sign == "/":
        right = dice.randint(1, 10)
        return right * dice.choice((dice.randint(0, 10), dice.randint(1, 99))), right
    if sign == "*":
        if size < 0.5:
            return dice.randint(0, 10), dice.randint(0, 10)
        left, right = dice.randint(11, 99), dice.randint(2, 9)
        if size > 0.9 and not dice.exam:
            right = dice.randint(11, 99)
        return (left, right) if dice.random() < 0.5 else (right, left)
    if size < 0.15:
        left, right = dice.randint(0, 9), dice.randint(0, 9)
    elif size < 0.4:
        left, right = dice.choice(
            [(dice.randint(10, 99), dice.randint(0, 9)), (dice.randint(0, 9), dice.randint(10, 99))]
        )
    elif size < 0.85 or dice.exam:
        left, right = dice.randint(10, 99), dice.randint(10, 99)
    else:
        left, right = dice.randint(100, 999), dice.randint(10, 999)
    if sign == "-" and left < right and dice.random() < 0.9:
        left, right = right, left
    return left, right


def key(left: int, sign: str, right: int) -> tuple[object, ...]:
    """What a pair of numbers is held out by, whichever of the two comes first."""
    return ("pair", sign, max(left, right), min(left, right))


def numbers(dice: Dice, sign: str) -> tuple[int, int]:
    """Two numbers of this side; the table of the small ones belongs to the training text alone."""
    while True:
        left, right = _pair(dice, sign)
        if is_table(left, sign, right) or is_table(right, sign, left):
            if not dice.exam:
                return left, right
        elif dice.may_use(*key(left, sign, right)):
            return left, right


def calculation(dice: Dice, sign: str) -> tuple[str, str, int]:
    """A question, its answer and the number in it."""
    left, right = numbers(dice, sign)
    templates = _NAMED[sign] if dice.random() < 0.2 else _ASK
    slots = {"left": str(left), "right": str(right), "sign": dice.choice(_SIGN_WORDS[sign])}
    return scruffy(dice, pick(dice, templates, slots)), worked(left, sign, right), result(left, sign, right)


def _calculation(dice: Dice) -> Exchange:
    asked, answer, _ = calculation(dice, dice.choice("++++---**/"))
    return Exchange(asked, answer)


def word_problem(dice: Dice) -> tuple[str, str, int]:
    """A sum or a difference told as a small story: the question, its answer and the number in it."""
    sign = dice.choice("+-")
    first, second = numbers(dice, sign)
    if sign == "-":
        first, second = max(first, second), min(first, second)
    slots = {"who": a_name(dice), "thing": dice.choice(_THINGS), "first": str(first), "second": str(second)}
    change = pick(dice, _MORE if sign == "+" else _FEWER, slots)
    asked = pick(dice, ("{who} has {first} {thing} and " + change + ". How many {thing} does {who} have now?",), slots)
    number = result(first, sign, second)
    return asked, f"{worked(first, sign, second)}. {slots['who']} has {number} {slots['thing']}.", number


def _onwards(dice: Dice, number: int) -> list[Exchange]:
    """One or two more steps from a result, of which only the last is asked for."""
    exchanges = []
    for _ in range(dice.randint(1, 2)):
        if not 0 < number < 900:
            break
        sign = dice.choice("+-*" if number < 100 else "+-")
        right = dice.randint(2, 9) if sign == "*" else dice.randint(1, min(99, number) if sign == "-" else 99)
        if not (is_table(number, sign, right) or dice.may_use(*key(number, sign, right))):
            break
        asked = scruffy(dice, pick(dice, _AND_THEN[sign], {"right": str(right)}))
        exchanges.append(Exchange(asked, worked(number, sign, right)))
        number = result(number, sign, right)
    return exchanges


def _word_problem(dice: Dice) -> Exchange:
    asked, answer, _ = word_problem(dice)
    return Exchange(asked, answer)


def _counting(rng: random.Random) -> Exchange:
    start = rng.choice((1, 1, rng.randint(0, 90)))
    stop = start + rng.randint(3, 15)
    slots = {"start": str(start), "stop": str(stop)}
    if rng.random() < 0.3:
        asked = pick(rng, ("Count [down |backwards ]from {stop} to {start}.",), slots)
        return Exchange(scruffy(rng, asked), ", ".join(str(number) for number in range(stop, start - 1, -1)))
    templates: tuple[str, ...] = (
        "Count from {start} to {stop}.",
        "[Can you count|Please count] from {start} to {stop}?",
    )
    if start == 1:
        templates += ("Count to {stop}.",)
    return Exchange(scruffy(rng, pick(rng, templates, slots)), ", ".join(map(str, range(start, stop + 1))))


_LARGER = ("Which [number |]is [larger|bigger|greater], {left} or {right}?", "Is {left} [larger|bigger] than {right}?")
_SMALLER = ("Which [number |]is [smaller|less], {left} or {right}?",)


def _comparison(rng: random.Random) -> Exchange:
    left, right = rng.sample(range(100), 2)
    slots = {"left": str(left), "right": str(right)}
    chance = rng.random()
    if chance < 0.5:
        return Exchange(
            scruffy(rng, pick(rng, _LARGER, slots)), f"{max(left, right)} is larger than {min(left, right)}."
        )
    if chance < 0.7:
        asked = scruffy(rng, pick(rng, _SMALLER, slots))
        return Exchange(asked, f"{min(left, right)} is smaller than {max(left, right)}.")
    return Exchange(f"Is {left} even or odd?", f"{left} is an {'odd' if left % 2 else 'even'} number.")


def sum_exchanges(dice: Dice) -> list[Exchange]:
    """One question about numbers, or a short run of them."""
    forms = (
        _calculation,
        _calculation,
        _calculation,
        _calculation,
        _calculation,
        _word_problem,
        _counting,
        _comparison,
    )
    if dice.random() < 0.2:
        asked, answer, number = calculation(dice, dice.choice("+-*"))
        return [Exchange(asked, answer), *_onwards(dice, number)]
    return [dice.choice(forms)(dice) for _ in range(dice.choice((1, 1, 2, 3, 4)))]


def drill(dice: Dice) -> str:
    """Sums or a row of numbers, one per line, as plain text."""
    if dice.random() < 0.1:
        start, stride = dice.randint(0, 20), dice.choice((1, 1, 2, 5, 10))
        return ", ".join(str(start + stride * at) for at in range(dice.randint(8, 20)))
    return "\n".join(_line(dice, dice.choice("+++--**/")) for _ in range(dice.randint(4, 12)))


def _line(dice: Dice, sign: str) -> str:
    left, right = numbers(dice, sign)
    return worked(left, sign, right)
