"""Lists of everyday things: a number of them, in a sentence or one to a line."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, pick, scruffy

_LISTS: dict[str, tuple[str, ...]] = {
    "animals": ("a fox", "a bear", "a horse", "a duck", "a rabbit", "a cow", "a mouse", "an owl", "a frog", "a bee"),
    "colors": ("red", "blue", "green", "yellow", "white", "black", "brown", "orange", "purple", "silver"),
    "fruits": ("apples", "pears", "cherries", "plums", "grapes", "bananas", "lemons", "peaches", "oranges", "figs"),
    "names": ("Anna", "Ben", "Clara", "Daniel", "Ella", "Felix", "Hugo", "Mia", "Nora", "Leo"),
    "things in a kitchen": ("a pot", "a spoon", "a cup", "a table", "a stove", "a plate", "a kettle", "a jar"),
    "things at a mill": ("a wheel", "a stone", "a river", "a sack of flour", "a bridge", "a barn", "a millrace"),
    "sampling parameters": ("temperature", "top-p", "top-k", "min-p", "seed", "max_tokens", "stop"),
    "metrics": ("time to first token", "inter-token latency", "tokens per second", "running sequences",
                "waiting sequences"),
    "words about text generation": ("token", "prompt", "prefill", "decode", "KV cache", "batch", "stream", "seed"),
}  # fmt: skip
_ROWS: tuple[tuple[str, str], ...] = (
    ("the days of the week", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    (
        "the months of the year",
        "January, February, March, April, May, June, July, August, September, October, November, December",
    ),
    ("the seasons", "spring, summer, autumn, winter"),
    ("the alphabet", "a b c d e f g h i j k l m n o p q r s t u v w x y z"),
    ("the vowels", "a, e, i, o, u"),
)
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}
_ASK = (
    "[Name|List|Tell me|Give me|Show me] {count} {things}.",
    "[Can|Could] you [name|list] {count} {things}?",
    "[What are|I need] {count} {things}[?|.]",
)


def list_exchange(dice: Dice) -> list[Exchange]:
    """A wish for a list, and as many entries as were wished for."""
    if dice.random() < 0.25:
        name, row = dice.choice(_ROWS)
        asked = pick(dice, ("[Name|List|Tell me|Say|Write] {name}.", "What are {name}?"), {"name": name})
        return [Exchange(scruffy(dice, asked), capitalized(row) + ".")]
    things, entries = dice.choice(tuple(_LISTS.items()))
    count = dice.choice(tuple(_COUNTS))
    asked = pick(dice, _ASK, {"count": dice.choice((str(count), _COUNTS[count])), "things": things})
    chosen = dice.sample(entries, count)
    if dice.random() < 0.5:
        return [Exchange(scruffy(dice, asked), "\n".join(f"{at}. {entry}" for at, entry in enumerate(chosen, start=1)))]
    sentence = f"{', '.join(chosen[:-1])} and {chosen[-1]}"
    return [Exchange(scruffy(dice, asked), f"Here are {_COUNTS[count]}: {sentence}.")]
