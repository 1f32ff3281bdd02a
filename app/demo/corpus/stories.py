"""Short stories: plots with slots, and two small simulators that keep track of things."""

from app.demo.corpus import story_plots as plots
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, pick, scruffy, unmarked
from app.demo.corpus.story_cast import SPOTS, TONES, Cast, choose_cast, guides, in_a_row

_WISHES = (
    "[Tell|Write] me a [short |little |]story[| please].",
    "[Please tell|Can you tell|Please write] me a [short |]story?",
    "I would like [to hear |]a story.",
    "[A story, please.|Once upon a time]",
)
_IDLE = ("[I am bored|I'm bored|I am tired|I cannot sleep|I have nothing to do|I am sad][.|!|]",)
_YES = ("[Yes|Yes, please|Sure|OK|Okay|Of course|Please|Yes, I would like that][.|!|]",)
_WISHES_NAMED = (
    "[Tell|Write] [me |]a [short |little |{tone} |]story about a {hero_kind} [named|called] {hero}.",
    "[Can you tell|Please tell] me a [{tone} |]story about {hero} the {hero_kind}?",
    "[Tell me|Write] a [{tone} |]story about {hero}, a {hero_kind}[, and a {thing}|].",
    "A [{tone} |]story about the {hero_kind} {hero}[, please|].",
    "I would like a [{tone} |]story. The {hero_kind} is called {hero}.",
)
_WISHES_ABOUT = (
    "[Tell|Write] me a [short |little |{tone} |]story about a {hero_kind}.",
    "[Tell|Write] me a {tone} story.",
    "Tell me a [{tone} |]story about a {hero_kind} and a {thing}.",
    "[Write|Tell] a story with a {hero_kind} and a {friend_kind}.",
)


_ABOUT_STORY = (
    ("[What is|What was|What's] the name of the {hero_kind}?", "The name of the {hero_kind} was {hero}."),
    ("Who [is|was] {hero}?", "{hero} was a {trait} {hero_kind}."),
    ("Who [is|was] {friend}?", "{friend} was a {friend_kind}."),
    ("Where did {hero} live?", "{hero} lived {place}."),
    ("What color [is|was] the {thing}?", "The {thing} was {color}."),
    ("Who was in [the|this] story?", "It was about {hero} the {hero_kind} and {friend} the {friend_kind}."),
)
_AGAIN = (
    "[Another one|One more|Another story|Tell me another one|Again][, please|].",
    "[More stories|I want another story][.|!]",
)


def _plot(dice: Dice, cast: Cast) -> list[str]:
    beats = dice.choice(tuple(plots.PLOTS.values()))
    return [pick(dice, (beat,), cast.slots()) for beat in beats]


def _search(dice: Dice, cast: Cast) -> list[str]:
    """The thing lies in one spot; the hero looks in others first and finds it in that one."""
    *missed, found = in_a_row(dice, SPOTS, dice.randint(2, 4))
    slots = cast.slots()
    beats = [pick(dice, plots.SEARCH_START, slots)]
    for at, (spot, guide) in enumerate(zip(missed, guides(dice, cast, len(missed)), strict=True)):
        misses = plots.SEARCH_MISS_AGAIN if at else plots.SEARCH_MISS_FIRST
        beats.append(pick(dice, misses, slots | guide.slots("guide") | {"spot": spot}))
    beats.append(pick(dice, plots.SEARCH_FIND, slots | {"spot": found}))
    beats.append(pick(dice, plots.SEARCH_END, slots))
    return beats


def _trades(dice: Dice, cast: Cast) -> list[str]:
    """The hero always gives what was got last."""
    goods = in_a_row(dice, plots.GOODS, dice.randint(2, 4))
    slots = cast.slots()
    beats = [pick(dice, plots.TRADE_START, slots | {"first": goods[0]})]
    for given, got, guide in zip(goods, goods[1:], guides(dice, cast, len(goods) - 1), strict=False):
        beats.append(pick(dice, plots.TRADE_STEP, slots | guide.slots("guide") | {"given": given, "got": got}))
    beats.append(pick(dice, plots.TRADE_END, slots | {"given": goods[-1]}))
    return beats


def tell(dice: Dice, cast: Cast) -> str:
    """One story with this cast, in one to three paragraphs."""
    body = dice.choice((_plot, _plot, _plot, _search, _trades))(dice, cast)
    start, end = TONES[cast.tone]
    sentences = [pick(dice, plots.OPENINGS, cast.slots()), dice.choice(start), *body, dice.choice(end)]
    if dice.random() < 0.5:
        sentences.append("The end.")
    separators = [dice.choice((" ", " ", " ", "\n\n")) for _ in sentences[1:]]
    story = capitalized(sentences[0])
    for separator, sentence in zip(separators, sentences[1:], strict=True):
        story += separator + _capitalized_sentences(sentence)
    return story


def _capitalized_sentences(beat: str) -> str:
    """Pronouns are stored small; those that begin a sentence become large."""
    pieces = beat.split(". ")
    return ". ".join(capitalized(piece) for piece in pieces)


def story(dice: Dice) -> str:
    """A story as plain text."""
    return tell(dice, choose_cast(dice))


def named_wish(dice: Dice, cast: Cast) -> str:
    """A wish for a story that names its hero."""
    return unmarked(dice, pick(dice, _WISHES_NAMED, cast.slots()))


def story_exchange(dice: Dice) -> list[Exchange]:
    """A wish for a story, and a story that fits the wish; now and then a question about it, or another story."""
    chance = dice.random()
    cast = choose_cast(dice, made_up=0.5 if chance < 0.5 else 0)
    told = tell(dice, cast)
    if chance < 0.5:
        turns = [Exchange(named_wish(dice, cast), told)]
    elif dice.random() < 0.1:
        offer = Exchange(pick(dice, _IDLE), "Would you like a story?")
        turns = [offer, Exchange(scruffy(dice, pick(dice, _YES)), told)]
    else:
        wish = pick(dice, _WISHES_ABOUT if chance < 0.8 else _WISHES, cast.slots())
        turns = [Exchange(unmarked(dice, wish), told)]
    return turns + _afterwards(dice, cast)


def _afterwards(dice: Dice, cast: Cast) -> list[Exchange]:
    """What may be said after the story."""
    if dice.random() < 0.06:
        return [Exchange(pick(dice, _AGAIN), tell(dice, choose_cast(dice, made_up=0)))]
    if dice.random() < 0.7:
        return []
    chosen = dice.sample(_ABOUT_STORY, dice.choice((1, 1, 2)))
    return [
        Exchange(pick(dice, (asked,), cast.slots()), pick(dice, (answer,), cast.slots())) for asked, answer in chosen
    ]
