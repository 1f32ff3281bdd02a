"""Plain text that starts in the ways people like to try a model with, and goes on within its small world."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.grammar import pick
from app.demo.corpus.story_cast import choose_cast

_MUSINGS = (
    (
        "Hello, my name is {hero}. I am a {hero_kind}, and I live {place}. [Every morning|Every evening] I "
        "[sit|walk] by the river and think about [the day|the stars|my friends]."
    ),
    "My name is {hero}, and this is my story. I was a {trait} {hero_kind}, and I had a {color} {thing}.",
    (
        "[Dear|Hello] {friend},\n\nthank you for the {color} {thing}. I like it very much. "
        "Please come and visit me {place}.\n\nYour friend {hero}"
    ),
    (
        "The [capital|king|queen|president|weather|future] of [France|the United States|AI|the country|the sea] "
        "is not something that a small model knows. It knows how tokens flow, and it likes to tell stories."
    ),
    (
        "The [future|purpose|meaning] of [AI|life|language models|computers] is [a big question|hard to tell]. "
        "A small model like this one only chooses one token after another."
    ),
    (
        "The [quick|little|old|clever] [brown |red |]{hero_kind} [jumps over|looks at|runs past] the "
        "[lazy |sleepy |old |]{friend_kind}. The {friend_kind} looks up, smiles, and goes back to sleep."
    ),
    (
        "Today {hero} and {friend} went for a walk {place}. [The sun was shining|It was raining|It was cold], and they "
        "found a {color} {thing}."
    ),
    "[This is|Here is] a [test|short text|sentence]. It shows that the server works and that the tokens are streaming.",
    (
        "[It was a dark and stormy night|It was a cold morning|It was late in the evening]. {hero} the {hero_kind} sat "
        "[by the fire|at the window] and held a {color} {thing}. Then there was a knock at the door."
    ),
    (
        "[In the beginning|Long ago], there was a river and a mill. The water turned the wheel, the wheel turned the "
        "stone, and the stone made flour for the whole village."
    ),
    ("[I like|I love] [the river|the old mill|fresh bread|music], because it makes me happy. What do you like?"),
    (
        'A {hero_kind} and a {friend_kind} met {place}. "[Good morning,|Hello,|Where are you going?]" said the '
        '{hero_kind}. "I am looking for my {thing}," said the {friend_kind}.'
    ),
)


def musing(dice: Dice) -> str:
    """One short text."""
    return pick(dice, _MUSINGS, choose_cast(dice).slots())
