"""More kinds of tools: errands, and tools for odd things under odd names, which must be read and cannot be known."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.grammar import capitalized
from app.demo.corpus.names import a_city, a_name
from app.demo.corpus.tools import Json, Parameter, Tool
from app.demo.corpus.words import WORDS

_MONEY = ("dollars", "euros", "pounds", "yen", "francs", "crowns", "rupees", "pesos")
_DISHES = ("pizza", "soup", "salad", "pasta", "rice", "bread", "cake", "tea", "coffee", "noodles", "curry", "pie")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DEEDS = ("turn", "lift", "count", "paint", "wash", "move", "open", "close", "fill", "shake", "weigh", "polish", "fold",
          "mark", "bend", "drop")  # fmt: skip


def _money(dice: Dice) -> Json:
    before, after = dice.sample(_MONEY, 2)
    return {"amount": dice.randint(2, 999), "from": before, "to": after}


ERRANDS: tuple[Tool, ...] = (
    Tool(
        verbs=("set", "start", "new", "make"),
        nouns=("timer", "countdown", "stopwatch"),
        described=("Start a timer.", "Set a timer for some minutes.", "A kitchen timer."),
        parameters=(Parameter(("minutes", "duration", "length", "time"), "integer", "minutes", "How long"),),
        roll=lambda dice: {"minutes": dice.randint(2, 240)},
        questions=(
            "[Set|Start] a timer for {minutes} minutes[, please|].",
            "Timer[:| for] {minutes} minutes",
            "[Wake me|Call me|Tell me] in {minutes} minutes.",
        ),
        answer=lambda *_: {"started": True},
        reply="The timer runs for {minutes} minutes.",
    ),
    Tool(
        verbs=("play", "start", "put_on"),
        nouns=("music", "song", "songs", "radio"),
        described=("Play music.", "Play songs of an artist.", "Start the music of somebody."),
        parameters=(Parameter(("artist", "singer", "by", "band"), "string", "who", "Who sings"),),
        roll=lambda dice: {"who": a_name(dice)},
        questions=(
            "Play [something|a song|music] by {who}[, please|].",
            "[I want|I would like] to hear {who}.",
            "[Put on|Start] some music by {who}.",
        ),
        answer=lambda dice, _: {"song": f"The {dice.choice(WORDS).title()}"},
        reply="Now you hear {song} by {who}.",
    ),
    Tool(
        verbs=("convert", "exchange", "change"),
        nouns=("currency", "money", "rate"),
        described=("Convert money to another currency.", "Exchange money.", "Currency conversion."),
        parameters=(
            Parameter(("amount", "sum", "value"), "number", "amount"),
            Parameter(("from_currency", "from", "source"), "string", "from"),
            Parameter(("to_currency", "to", "target"), "string", "to"),
        ),
        roll=_money,
        questions=(
            "[How much|What] are {amount} {from} in {to}?",
            "[Convert|Change|Exchange] {amount} {from} to {to}[, please|].",
            "I have {amount} {from}. How many {to} is that?",
        ),
        answer=lambda dice, _: {"amount_after": dice.randint(1, 99_999) / 100},
        reply="{amount} {from} are {amount_after} {to}.",
    ),
    Tool(
        verbs=("book", "reserve", "get"),
        nouns=("table", "seats", "restaurant"),
        described=("Book a table in a restaurant.", "Reserve seats for dinner."),
        parameters=(
            Parameter(("restaurant", "place", "where"), "string", "who", "Name of the restaurant"),
            Parameter(("people", "guests", "seats", "persons"), "integer", "people", "How many"),
            Parameter(("day", "weekday", "when"), "string", "day"),
        ),
        roll=lambda dice: {"who": a_name(dice), "people": dice.randint(2, 20), "day": dice.choice(_DAYS)},
        questions=(
            "[Book|Reserve] a table for {people} at {who} on {day}[, please|].",
            "We are {people} people and want to eat at {who} on {day}.",
            "On {day} I need a table for {people} at {who}.",
        ),
        answer=lambda dice, _: {"table": dice.randint(1, 40)},
        reply="Table {table} at {who} is yours on {day}.",
    ),
    Tool(
        verbs=("order", "buy", "get", "request"),
        nouns=("food", "dish", "meal", "delivery"),
        described=("Order something to eat.", "Have food brought.", "Order a dish a number of times."),
        parameters=(
            Parameter(("dish", "item", "food", "what"), "string", "dish"),
            Parameter(("count", "quantity", "number", "portions"), "integer", "count"),
        ),
        roll=lambda dice: {"dish": dice.choice(_DISHES), "count": dice.randint(2, 60)},
        questions=(
            "[Order|Get|Please order] {dish} {count} times.",
            "[I want|We need|I would like] {count} portions of {dish}[, please|].",
            "{count} times {dish}, please.",
        ),
        answer=lambda dice, _: {"minutes": dice.randint(10, 90)},
        reply="{count} portions of {dish} come in {minutes} minutes.",
    ),
    Tool(
        verbs=("find", "get", "plan", "show", "look_up"),
        nouns=("route", "way", "directions", "train"),
        described=("Find the way from one city to another.", "Plan a route.", "How to get from here to there."),
        parameters=(
            Parameter(("from", "start", "origin"), "string", "from", "Where it begins"),
            Parameter(("to", "end", "destination"), "string", "to", "Where it ends"),
        ),
        roll=lambda dice: {"from": a_city(dice), "to": a_city(dice)},
        questions=(
            "How do I get from {from} to {to}?",
            "[Find|Show me] [the way|a route|a train] from {from} to {to}[, please|].",
            "I am in {from} and want to go to {to}.",
        ),
        answer=lambda dice, _: {"hours": dice.randint(1, 40), "kilometers": dice.randint(20, 3000)},
        reply="From {from} to {to} it is {kilometers} kilometers, in {hours} hours.",
    ),
)


def odd_tool(dice: Dice) -> Tool:
    """A tool that does something to some thing, with one or two parameters; all are any words."""
    while True:
        deed, noun, *words = dice.choice(_DEEDS), *dice.sample(WORDS, dice.randint(2, 3))
        if dice.may_use("tool", f"{deed}_{noun}", *words):
            break
    kinds = [dice.choice(("integer", "string")) for _ in words]

    def roll(dice: Dice) -> Json:
        return {
            word: dice.randint(2, 999) if kind == "integer" else dice.choice((a_name(dice), dice.choice(WORDS)))
            for word, kind in zip(words, kinds, strict=True)
        }

    given = " and ".join(f"{word} {{{word}}}" for word in words)
    return Tool(
        verbs=(deed,),
        nouns=(noun,),
        described=(f"{capitalized(deed)} the {noun}.",),
        parameters=tuple(Parameter((word,), kind, word) for word, kind in zip(words, kinds, strict=True)),
        roll=roll,
        questions=(
            f"[Please |Can you |]{deed} the {noun} with {given}.",
            f"{capitalized(deed)} the {noun}: {given}",
            f"I want to {deed} the {noun}, with {given}.",
        ),
        answer=lambda *_: {"done": True},
        reply=f"The {noun} is done, with {given}.",
    )
