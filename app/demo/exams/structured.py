"""JSON for schemas whose keys never occur together in the training text, and tool calls with unseen arguments."""

import json
import random
from collections.abc import Callable

from jsonschema import Draft202012Validator

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Message
from app.demo.corpus.json_fields import Json
from app.demo.corpus.json_records import Record, extraction, invention
from app.demo.corpus.tool_talk import NO_TOOL, misfit, toolbox, use
from app.demo.corpus.tools import NamedTool
from app.demo.exams.exam import Exam, Question, asked
from app.demo.exams.facts import one_of


def fits(schema: Json) -> Callable[[str], bool]:
    """Checks whether the reply is nothing but JSON, and valid under the schema."""
    validator = Draft202012Validator(schema)

    def right(reply: str) -> bool:
        try:
            return validator.is_valid(json.loads(reply))
        except ValueError:
            return False

    return right


def holds(values: Json) -> Callable[[str], bool]:
    """Checks whether the reply is JSON with exactly these values."""

    def right(reply: str) -> bool:
        try:
            return bool(json.loads(reply) == values)
        except ValueError:
            return False

    return right


def _json(name: str, wanted: float, make: Callable[[Dice], tuple[str, Record]], *, exact: bool) -> Exam:
    def ask(rng: random.Random) -> Question:
        text, record = make(Dice.for_exam(rng))
        return Question(asked("json", text), holds(record.values) if exact else fits(record.schema))

    return Exam(name, wanted, ask)


def calls(wanted: tuple[str, ...]) -> Callable[[str], bool]:
    """Checks whether the reply is exactly these calls, regardless of spaces and the order of arguments."""

    def parsed(text: str) -> list[object] | None:
        pieces = text.strip().removesuffix("</tool_call>").split("</tool_call>")
        try:
            return [json.loads(piece.strip().removeprefix("<tool_call>")) for piece in pieces]
        except ValueError:
            return None

    return lambda reply: reply.strip().startswith("<tool_call>") and parsed(reply) == parsed("\n".join(wanted))


def _tools(rng: random.Random) -> tuple[Dice, list[NamedTool], tuple[Json, ...]]:
    dice = Dice.for_exam(rng)
    tools = toolbox(dice, dice.randint(1, 4))
    return dice, tools, tuple(tool.definition for tool in tools)


def _call(rng: random.Random) -> Question:
    dice, tools, definitions = _tools(rng)
    wanted = use(dice, dice.choice(tools))
    return Question(Chat("tools", ({"role": "user", "content": wanted.question},), definitions), calls(wanted.calls))


def _reply(rng: random.Random) -> Question:
    dice, tools, definitions = _tools(rng)
    wanted = use(dice, dice.choice(tools))
    answers: list[Message] = [{"role": "tool", "content": answer} for answer in wanted.answers]
    called: Message = {"role": "assistant", "content": "\n".join(wanted.calls)}
    messages: tuple[Message, ...] = ({"role": "user", "content": wanted.question}, called, *answers)
    return Question(Chat("tools", messages, definitions), one_of({wanted.reply}))


def _misfit(rng: random.Random) -> Question:
    dice, tools, definitions = _tools(rng)
    message: Message = {"role": "user", "content": misfit(dice, tools).user}
    return Question(Chat("tools", (message,), definitions), one_of({NO_TOOL}))


EXAMS: tuple[Exam, ...] = (
    _json("JSON valid to its schema", 0.95, lambda dice: extraction(dice, stated=True), exact=False),
    _json("JSON with the values of the text", 0.9, lambda dice: extraction(dice, stated=True), exact=True),
    _json("JSON with named fields", 0.9, lambda dice: extraction(dice, stated=False), exact=True),
    _json("JSON made up to a schema", 0.95, invention, exact=False),
    Exam("right tool, right arguments", 0.9, _call),
    Exam("the reply after a tool's answer", 0.9, _reply),
    Exam("no tool fits", 0.9, _misfit),
)
