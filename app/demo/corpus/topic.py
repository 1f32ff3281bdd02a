"""A topic that can be asked about, and the questions about it."""

import random
from dataclasses import dataclass

from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, expand, first_sentence, pick, scruffy

_ASK_ONE = (
    "What is {name}?",
    "What is {name}?",
    "What's {name}?",
    "What exactly is {name}?",
    "How does {name} work?",
    "What does {name} do?",
    "What is {name} for?",
    "What is {name}[,|] and [why does it matter|what is it for|how does it work]?",
    "How do I use {name}?",
    "Why is {name} useful?",
)
_ASK_MANY = ("What are {name}?", "What are {name}?", "How do {name} work?", "What are {name} for?", "Why use {name}?")
_ASK_ANY = (
    "[Can|Could] you [explain|describe] {name}[| to me| for me]?",
    "[Please |]explain {name}[| to me| for a beginner].",
    "[Please |]tell me about {name}.",
    "Explain {name}[, please|].",
    "[Explain|Describe] {name} [in simple words|simply|like I am five|to a child].",
    "[Define|Describe] {name}.",
    "What do you know about {name}?",
    "What does {bare} mean?",
    "{bare}?",
    "I [don't|do not] understand {name}.",
    "I [want|would like] to [know|learn] about {name}.",
)
_BRIEFLY = ("[| Answer] [in one sentence|briefly|in a sentence].", "[| Keep it] short.")
_MORE = (
    "[Tell me more|Go on|More|Continue|And then|Say more|More, please].",
    "[Can|Could] you say [more|a bit more][| about that| about it]?",
    "Why [does that matter|is that|is that useful|is it important]?",
    "[Anything else|What else|What more should I know|Why]?",
)


@dataclass(frozen=True)
class Topic:
    """Something with names, answers that stand alone, and details that follow them. Texts are templates."""

    names: tuple[str, ...]
    answers: tuple[str, ...]
    details: tuple[str, ...] = ()
    plural_names: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


def question(rng: random.Random, topic: Topic) -> str:
    """A question about the topic, in careful spelling."""
    if topic.questions and (not (topic.names or topic.plural_names) or rng.random() < 0.4):
        return pick(rng, topic.questions)
    name = rng.choice(topic.names + topic.plural_names)
    return ask_about(rng, name, plural=name in topic.plural_names)


def ask_about(rng: random.Random, name: str, *, plural: bool) -> str:
    """A question about anything that has a name."""
    templates = _ASK_ANY if rng.random() < 0.4 else _ASK_MANY if plural else _ASK_ONE
    bare = name.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    return capitalized(pick(rng, templates, {"name": name, "bare": bare}))


def exchanges(rng: random.Random, topic: Topic) -> list[Exchange]:
    """A question with its answer, now and then with a second turn that needs the first."""
    asked, answer = question(rng, topic), pick(rng, topic.answers)
    chance = rng.random()
    if chance < 0.08:
        brief = expand(rng, rng.choice(_BRIEFLY)).strip()
        return [Exchange(scruffy(rng, f"{asked} {capitalized(brief)}"), first_sentence(answer))]
    if topic.details and chance < 0.25:
        answer = f"{answer} {pick(rng, topic.details)}"
        return [Exchange(scruffy(rng, asked), answer)]
    turns = [Exchange(scruffy(rng, asked), answer)]
    if topic.details and chance < 0.5:
        turns.append(Exchange(scruffy(rng, pick(rng, _MORE)), pick(rng, topic.details)))
    return turns


def article(rng: random.Random, topic: Topic) -> str:
    """The topic as a short piece of prose."""
    body = pick(rng, topic.answers)
    if topic.details and rng.random() < 0.7:
        body = f"{body} {pick(rng, topic.details)}"
    if topic.names and rng.random() < 0.2:
        return f"{capitalized(topic.names[0])}\n\n{body}"
    return body
