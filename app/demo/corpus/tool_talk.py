"""Conversations with tools: the right call, what the tool answers, and a plain word where no tool fits."""

import json
from dataclasses import dataclass
from typing import Any

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Exchange, Message
from app.demo.corpus.grammar import expand, pick, unmarked
from app.demo.corpus.tool_errands import ERRANDS, odd_tool
from app.demo.corpus.tool_kinds import TOOLS
from app.demo.corpus.tools import Json, NamedTool, Tool, named

_SYSTEM = ("You are a helpful assistant.", "You are a helpful assistant with tools.", "Use the tools when they help.")
_ALL = TOOLS + ERRANDS
NO_TOOL = "I am sorry, but none of my tools can do that."


@dataclass(frozen=True)
class Use:
    """One question, the calls that answer it, what the tools answer, and the reply."""

    question: str
    calls: tuple[str, ...]
    answers: tuple[str, ...]
    reply: str


def toolbox(dice: Dice, count: int) -> list[NamedTool]:
    """Different tools under different names, now and then an odd one."""
    tools = [named(dice, tool) for tool in dice.sample(_ALL, count)]
    if dice.random() < 0.25:
        tools[dice.randrange(count)] = named(dice, odd_tool(dice))
    return tools if len({tool.name for tool in tools}) == count else toolbox(dice, count)


def question(dice: Dice, tool: Tool) -> tuple[str, Json]:
    """A question for this tool, which is on this side as a whole, and the values in it."""
    while True:
        values = tool.roll(dice)
        asked = pick(dice, tool.questions, {name: str(value) for name, value in values.items()})
        if dice.may_use("question", asked):
            return unmarked(dice, asked), values


def use(dice: Dice, tool: NamedTool) -> Use:
    """One question that this tool answers, or two of its kind at once."""
    asked, values = question(dice, tool.tool)
    answer, reply = _answered(dice, tool, values)
    if len(tool.tool.parameters) > 1 or dice.random() < 0.92:
        return Use(asked, (tool.call(values),), (answer,), reply)
    again, others = question(dice, tool.tool)
    second, follows = _answered(dice, tool, others)
    both = f"{asked.rstrip('.?')}{dice.choice(('. ', '? And ', '? '))}{again}"
    return Use(both, (tool.call(values), tool.call(others)), (answer, second), f"{reply} {follows}")


def _answered(dice: Dice, tool: NamedTool, values: Json) -> tuple[str, str]:
    answer = tool.tool.answer(dice, values)
    slots = {name: str(value) for name, value in (values | answer).items()}
    return json.dumps(answer, ensure_ascii=False), expand(dice, tool.tool.reply, slots)


def _messages(use: Use) -> list[Message]:
    answers: list[Message] = [{"role": "tool", "content": answer} for answer in use.answers]
    return [
        {"role": "user", "content": use.question},
        {"role": "assistant", "content": "\n".join(use.calls)},
        *answers,
        {"role": "assistant", "content": use.reply},
    ]


def misfit(dice: Dice, tools: list[NamedTool]) -> Exchange:
    """A question for a tool that is not there."""
    others = [tool for tool in _ALL if tool not in [offered.tool for offered in tools]]
    asked, _ = question(dice, dice.choice(others))
    return Exchange(asked, NO_TOOL)


def tool_chat(dice: Dice, small_talk: list[Exchange]) -> Chat:
    """One to four questions to one to four tools, of which now and then one fits none or needs none."""
    tools = toolbox(dice, dice.choice((1, 2, 2, 3, 3, 4)))
    messages: list[Message] = []
    if dice.random() < 0.3:
        messages.append({"role": "system", "content": dice.choice(_SYSTEM)})
    for _ in range(dice.choice((1, 2, 3, 3, 4))):
        chance = dice.random()
        if chance < 0.74:
            messages += _messages(use(dice, dice.choice(tools)))
        else:
            turns = [misfit(dice, tools)] if chance < 0.91 else small_talk
            for turn in turns:
                messages += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
    definitions: tuple[dict[str, Any], ...] = tuple(tool.definition for tool in tools)
    return Chat("tools", tuple(messages), definitions)
