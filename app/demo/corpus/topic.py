"""A topic that can be asked about, and the questions about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import capitalized, every, expand, first_sentence, pick, scruffy

_ASK_ONE = (
    "[What is|What's|What exactly is|So what is|And what is] {name}[|, please|, exactly]?",
    "[How does|How exactly does|Why does] {name} work?",
    "What [does|can|will] {name} do[| for me]?",
    "[What is|What's] {name} [for|good for|used for]?",
    "What is {name}[,|] and [why does it matter|what is it for|how does it work]?",
    "[How do I|How can I|When do I|Why would I] use {name}?",
    "[Why|When] is {name} [useful|important|needed]?",
    "What [is meant by|do you mean by|is the point of|is the idea of|is the use of] {name}?",
)
_ASK_MANY = (
    "[What are|What exactly are|So what are|And what are] {name}[|, please|, exactly]?",
    "[How do|How exactly do] {name} work?",
    "What are {name} [for|good for|used for]?",
    "[Why use|Why do I need|When do I need] {name}?",
    "What [is meant by|do you mean by] {name}?",
)
_ASK_ANY = (
    "[Can|Could|Would] you [explain|describe|define] {name}[| to me| for me|, please]?",
    "[Please |Now ]explain {name}[| to me| for a beginner| in short].",
    "[Please |Now |Then ]tell me [about|something about|what you know about] {name}.",
    "[Explain|Describe] {name} [in simple words|simply|like I am five|to a child|to a friend|in your own words].",
    "[Define|Describe|Explain|Introduce] {name}[|, please].",
    "What do you know about {name}?",
    "What does {bare} mean?",
    "[|Define ]{bare}?",
    "[Meaning|Definition|Explanation] of {bare}[|, please|?]",
    "I [don't|do not|never] [understand|understood|get|know] {name}.",
    "I [want|would like|need] to [know|learn|hear|read] [about|something about|more about] {name}.",
    "[Help me|I try to] understand {name}.",
    "[Teach me|Give me an idea of|Give me a short explanation of] {name}.",
    "[I have a question about|My question is about|I am confused about|I read about] {name}.",
)
_INTO = (
    "[Quick question|One question|A question|My question|Question][:|,] {question}",
    "[Can|Could] you tell me[:|,|, please:] {question}",
    "[Please|Now|Then] [tell me|answer][:|,] {question}",
    "{question} [Please explain.|I am curious.|Please help.|I would like to know.|I am new to this.]",
    "[I was wondering|I wonder|I am curious|Just curious|Excuse me|By the way|Sorry][:|,] {question}",
)
"""Ways into a question that has words of its own."""
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


def question(dice: Dice, topic: Topic) -> str:
    """A question about the topic, in careful spelling."""
    if topic.questions and (not (topic.names or topic.plural_names) or dice.random() < 0.4):
        asked = pick(dice, topic.questions)
        if dice.random() < 0.7 and not dice.exam:
            return asked
        return _framed(dice, _INTO).replace("{question}", asked)
    name = dice.choice(topic.names + topic.plural_names)
    return ask_about(dice, name, plural=name in topic.plural_names)


def ask_about(dice: Dice, name: str, *, plural: bool) -> str:
    """A question about anything that has a name."""
    frame = _framed(dice, _ASK_ANY if dice.random() < 0.5 else _ASK_MANY if plural else _ASK_ONE)
    bare = name.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    return capitalized(frame.replace("{name}", name).replace("{bare}", bare))


def _framed(dice: Dice, templates: Sequence[str]) -> str:
    """A way to ask that is on this side, whatever it asks about."""
    return dice.draw("phrasing", lambda: dice.choice(every(dice.choice(templates))))


def whole_answers(topic: Topic) -> set[str]:
    """Everything that may be said when asked about the topic."""
    answers = {text for answer in topic.answers for text in every(answer)}
    details = {text for detail in topic.details for text in every(detail)}
    return answers | {f"{answer} {detail}" for answer in answers for detail in details}


def exchanges(dice: Dice, topic: Topic) -> list[Exchange]:
    """A question with its answer, now and then with a second turn that needs the first."""
    asked, answer = question(dice, topic), pick(dice, topic.answers)
    chance = dice.random()
    if chance < 0.08:
        brief = expand(dice, dice.choice(_BRIEFLY)).strip()
        return [Exchange(scruffy(dice, f"{asked} {capitalized(brief)}"), first_sentence(answer))]
    if topic.details and chance < 0.25:
        answer = f"{answer} {pick(dice, topic.details)}"
        return [Exchange(scruffy(dice, asked), answer)]
    turns = [Exchange(scruffy(dice, asked), answer)]
    if topic.details and chance < 0.5:
        turns.append(Exchange(scruffy(dice, pick(dice, _MORE)), pick(dice, topic.details)))
    return turns


def article(dice: Dice, topic: Topic) -> str:
    """The topic as a short piece of prose."""
    body = pick(dice, topic.answers)
    if topic.details and dice.random() < 0.7:
        body = f"{body} {pick(dice, topic.details)}"
    if topic.names and dice.random() < 0.2:
        return f"{capitalized(topic.names[0])}\n\n{body}"
    return body
