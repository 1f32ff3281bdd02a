"""Short stories: plots with slots, and two small simulators that keep track of things."""

import random

from app.demo.corpus import story_plots as plots
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, pick, scruffy
from app.demo.corpus.story_cast import SPOTS, Actor, Cast, choose_cast

_WISHES = (
    "[Tell|Write] me a [short |little |]story[| please].",
    "[Please tell|Can you tell|Please write] me a [short |]story?",
    "I would like [to hear |]a story.",
    "[A story, please.|Once upon a time]",
)
_IDLE = ("[I am bored|I'm bored|I am tired|I cannot sleep|I have nothing to do|I am sad][.|!|]",)
_YES = ("[Yes|Yes, please|Sure|OK|Okay|Of course|Please|Yes, I would like that][.|!|]",)
_WISHES_ABOUT = (
    "[Tell|Write] me a [short |little |]story about a {hero_kind}.",
    "[Tell|Write] [me |]a [short |]story about a {hero_kind} named {hero}.",
    "[Can you tell|Please tell] me a story about {hero} the {hero_kind}?",
    "Tell me a story about a {hero_kind} and a {thing}.",
    "[Write|Tell] a story with a {hero_kind} and a {friend_kind}.",
)


def _guides(rng: random.Random, cast: Cast, count: int) -> list[Actor]:
    """Others whom the hero meets, each once."""
    met: list[Actor] = []
    names = {cast.hero.name, cast.friend.name}
    while len(met) < count:
        guide = choose_cast(rng).hero
        if guide.name not in names:
            names.add(guide.name)
            met.append(guide)
    return met


def _plot(rng: random.Random, cast: Cast) -> list[str]:
    beats = rng.choice(tuple(plots.PLOTS.values()))
    return [pick(rng, (beat,), cast.slots()) for beat in beats]


def _search(rng: random.Random, cast: Cast) -> list[str]:
    """The thing lies in one spot; the hero looks in others first and finds it in that one."""
    *missed, found = rng.sample(SPOTS, rng.randint(2, 4))
    slots = cast.slots()
    beats = [pick(rng, plots.SEARCH_START, slots)]
    for at, (spot, guide) in enumerate(zip(missed, _guides(rng, cast, len(missed)), strict=True)):
        misses = plots.SEARCH_MISS_AGAIN if at else plots.SEARCH_MISS_FIRST
        beats.append(pick(rng, misses, slots | guide.slots("guide") | {"spot": spot}))
    beats.append(pick(rng, plots.SEARCH_FIND, slots | {"spot": found}))
    beats.append(pick(rng, plots.SEARCH_END, slots))
    return beats


def _trades(rng: random.Random, cast: Cast) -> list[str]:
    """The hero always gives what was got last."""
    goods = rng.sample(plots.GOODS, rng.randint(2, 4))
    slots = cast.slots()
    beats = [pick(rng, plots.TRADE_START, slots | {"first": goods[0]})]
    for given, got, guide in zip(goods, goods[1:], _guides(rng, cast, len(goods) - 1), strict=False):
        beats.append(pick(rng, plots.TRADE_STEP, slots | guide.slots("guide") | {"given": given, "got": got}))
    beats.append(pick(rng, plots.TRADE_END, slots | {"given": goods[-1]}))
    return beats


def tell(rng: random.Random, cast: Cast) -> str:
    """One story with this cast, in one to three paragraphs."""
    body = rng.choice((_plot, _plot, _plot, _search, _trades))(rng, cast)
    sentences = [pick(rng, plots.OPENINGS, cast.slots()), *body]
    if rng.random() < 0.4:
        sentences.append(rng.choice(plots.LAST_WORDS))
    separators = [rng.choice((" ", " ", " ", "\n\n")) for _ in sentences[1:]]
    story = capitalized(sentences[0])
    for separator, sentence in zip(separators, sentences[1:], strict=True):
        story += separator + _capitalized_sentences(sentence)
    return story


def _capitalized_sentences(beat: str) -> str:
    """Pronouns are stored small; those that begin a sentence become large."""
    pieces = beat.split(". ")
    return ". ".join(capitalized(piece) for piece in pieces)


def story(rng: random.Random) -> str:
    """A story as plain text, now and then from its second sentence on, so that any start can be continued."""
    text = tell(rng, choose_cast(rng))
    if rng.random() < 0.1:
        text = text.split(". ", maxsplit=1)[1]
    return text


def story_exchange(rng: random.Random) -> list[Exchange]:
    """A wish for a story, and a story that fits the wish."""
    cast = choose_cast(rng)
    wish = pick(rng, _WISHES_ABOUT if rng.random() < 0.7 else _WISHES, cast.slots())
    if rng.random() < 0.1:
        offer = Exchange(pick(rng, _IDLE), "Would you like a story?")
        return [offer, Exchange(scruffy(rng, pick(rng, _YES)), tell(rng, cast))]
    return [Exchange(scruffy(rng, wish), tell(rng, cast))]
