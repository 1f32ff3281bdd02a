"""Exchanges whose answer lies in the words of the user: names to remember and words to repeat."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import made_up_word, pick
from app.demo.corpus.names import a_name

_WORDS = (
    "ant arm axe back bag ball band bank bath bean bed bee belt bench bike bone bow box brick broom brush bucket cake "
    "camel camp candle cap car card cart castle cat chain chair cherry city clay clock coat coin corn cow crab cup "
    "desk dish dog door dust eagle ear earth east eye farm fence field finger fire flag floor flour fog foot fork "
    "glass glove goat gold goose grape grass hammer hand head heart hen herb honey hook house ice ink iron island "
    "jar kettle king kitten knee knife knot lake lamb lamp leg lemon letter lid line lion lip lock log man mask "
    "meal melon mirror moon mouse mouth nail neck needle nest net night north nose nut oar ocean onion oven owl "
    "paint pan peach pear pen pencil pepper piano pig pillow pine pipe plant plate plum pond pot pump queen rabbit "
    "radio rice road roof root rope rose sack salt sand saw seed sheep shelf shell ship shirt shoe silk sky sleep "
    "snail soap sock song spoon spring square stair stick storm straw street string sugar swan sword tail tent "
    "thread tiger toe tomato tooth tower town toy train tray truck tub tulip valley vase violin voice wagon watch "
    "wave wax wheat whistle wind wing wolf wood wool yard zebra "
    "apple river stone cloud lantern token stream mill wheel garden fox bell green seven window paper bread morning "
    "kite water silver bridge cache music table winter small light road flower hat boat one two three red blue bear "
    "key drum map ring book ball flute golden white shiny horse duck robot dragon frog turtle girl boy baker sailor "
    "garden village sea forest hill oak well barn kitchen wall sun star rain snow tree leaf fish bird egg milk soup tea"
)
WORDS = tuple(dict.fromkeys(_WORDS.split()))
_SAY_NAME = ("[My name is|I am|I'm|Call me|Hi, I am|Hello, my name is|You can call me] {name}[.|!|]",)
_NICE = ("Nice to meet you, {name}! [What would you like to know?|How can I help you?]", "Hello, {name}!")
_ASK_NAME = ("[What is|What's|Do you know|Do you remember] my name?", "Who am I?", "What did I say my name was?")
_REPEAT = (
    "[Repeat|Say|Write]: {words}",
    "Repeat after me: {words}",
    "[Please repeat|Say] the words {words}.",
    'Say "{words}".',
    "[Say|Repeat] {words}.",
)


def introduction(dice: Dice) -> tuple[Exchange, Exchange]:
    """The user's name, and the later question for it."""
    slots = {"name": a_name(dice)}
    told = Exchange(pick(dice, _SAY_NAME, slots), pick(dice, _NICE, slots))
    asked = Exchange(pick(dice, _ASK_NAME), f"Your name is {slots['name']}.")
    return told, asked


def forgotten_name(dice: Dice) -> Exchange:
    """A question for a name that was never told."""
    return Exchange(pick(dice, _ASK_NAME), "You have not told me your name. What is it?")


def repetition(dice: Dice) -> list[Exchange]:
    """Words to say again, in the same order."""
    words = " ".join(_anything(dice) for _ in range(dice.randint(1, 12)))
    return [Exchange(pick(dice, _REPEAT, {"words": words}), words)]


def _anything(dice: Dice) -> str:
    form = dice.random()
    if form < 0.55:
        return dice.choice(WORDS)
    if form < 0.75:
        return a_name(dice)
    if form < 0.85:
        return str(dice.randrange(100))
    return made_up_word(dice)
