"""The training text: right in what it says, and without anything that the exams ask for."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest

from app.demo.corpus import Chat, Document, PlainText, documents
from app.demo.corpus.__main__ import shares
from app.demo.corpus.code import ALL_SAMPLES, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Function, function
from app.demo.corpus.code_families import FAMILIES
from app.demo.corpus.dice import Dice, held_out
from app.demo.corpus.grammar import every, expand
from app.demo.corpus.names import CITIES, FIRST_NAMES
from app.demo.corpus.order import DAYS, MONTHS
from app.demo.corpus.story_cast import ANIMAL_NAMES, PEOPLE
from app.demo.corpus.sums import key
from app.demo.corpus.worked import is_table, result, worked
from app.demo.exams import EXAMS, Exam

_EQUATION = re.compile(r"(?<![-+*] )\b(-?\d+(?: [-+*] \d+)+) = (-?\d+)")
_PAIR = re.compile(r"(?<![-+*/] )\b(\d+) ([-+*]) (\d+)\b(?! [-+*/] \d)")
_FUNCTION = re.compile(r"\bdef (\w+)\(([^)]*)\)")


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    return list(islice(documents(4), 12_000))


def texts(corpus: list[Document]) -> Iterator[str]:
    for document in corpus:
        if isinstance(document, Chat):
            yield from (message["content"] for message in document.messages)
        else:
            yield document.text


def chats(corpus: list[Document], kind: str) -> list[Chat]:
    return [document for document in corpus if isinstance(document, Chat) and document.kind == kind]


def test_the_same_seed_gives_the_same_documents_and_another_seed_gives_others() -> None:
    first = list(islice(documents(1), 50))
    assert list(islice(documents(1), 50)) == first
    assert list(islice(documents(2), 50)) != first


def test_a_tenth_is_held_out_and_each_side_draws_its_own() -> None:
    kept = {number for number in range(5000) if held_out("number", number)}
    assert 400 < len(kept) < 600
    training, exam = Dice(1), Dice.for_exam(random.Random(1))
    assert not kept & {training.draw("number", lambda: training.randrange(5000)) for _ in range(1000)}
    assert {exam.draw("number", lambda: exam.randrange(5000)) for _ in range(100)} <= kept


def test_the_mix_is_the_same_from_the_first_document_on_and_no_document_is_long(corpus: list[Document]) -> None:
    first, last = (Counter(document.kind for document in half) for half in (corpus[:6000], corpus[6000:]))
    assert first.keys() == last.keys()
    assert all(abs(first[kind] - last[kind]) < 0.02 * 6000 for kind in first)
    assert max(map(len, texts(corpus))) < 1600


def test_no_kind_of_text_outweighs_the_others(corpus: list[Document]) -> None:
    found = shares(corpus)
    assert sum(found.values()) == pytest.approx(1)
    assert 0.2 < found["facts"] + found["conversation"] < 0.45
    for kind in ("sums", "drill", "tools", "json", "code", "stories"):
        assert 0.03 < found[kind] < 0.2, found


def test_no_template_is_left_unfilled(corpus: list[Document]) -> None:
    for text in texts([document for document in corpus if document.kind not in ("json", "tools", "code", "hole")]):
        if "```" not in text and '{"' not in text and "schema" not in text:
            assert not re.search(r"[{}|\[\]$]|  ", text), text


def test_every_sum_is_right(corpus: list[Document]) -> None:
    found = [match for text in texts(corpus) for match in _EQUATION.finditer(text)]
    assert len(found) > 10_000
    for match in found:
        assert eval(match[1]) == int(match[2]), match[0]


@pytest.mark.parametrize("sign", ["+", "-", "*"])
def test_any_two_numbers_are_worked_out_digit_by_digit(sign: str) -> None:
    for left in range(0, 130, 3):
        for right in range(0, 130, 2):
            steps = worked(left, sign, right)
            assert steps.endswith(f"{left} {sign} {right} = {result(left, sign, right)}")
            assert all(eval(match[1]) == int(match[2]) for match in _EQUATION.finditer(steps)), steps


def test_no_pair_of_numbers_is_held_out(corpus: list[Document]) -> None:
    found = [match for text in texts(corpus) for match in _PAIR.finditer(text)]
    assert len(found) > 10_000
    for match in found:
        left, sign, right = int(match[1]), match[2], int(match[3])
        table = is_table(left, sign, right) or is_table(right, sign, left)
        large = max(left, right) > 999  # only a tool computes those
        kept = held_out("large pair", (left, right)) if large else held_out(*key(left, sign, right))
        assert table or not kept, match[0]


def test_no_name_is_held_out(corpus: list[Document]) -> None:
    kept = {name for name in (*FIRST_NAMES, *CITIES, *PEOPLE, *ANIMAL_NAMES) if held_out("name", name)}
    assert len(kept) > 15
    assert not kept & {word for text in texts(corpus) for word in re.findall(r"[A-Z]\w+", text)}


def test_no_function_tool_or_schema_is_held_out(corpus: list[Document]) -> None:
    functions = [match for text in texts(corpus) for match in _FUNCTION.finditer(text)]
    assert len(functions) > 1000
    for match in functions:
        parameters = [parameter.partition(":")[0].strip() for parameter in match[2].split(",")]
        assert not held_out("function", match[1], *parameters)
    tools = [tool["function"] for chat in chats(corpus, "tools") for tool in chat.tools]
    assert len({tool["name"] for tool in tools}) > 100
    assert not any(held_out("tool", tool["name"], *tool["parameters"]["properties"]) for tool in tools)
    for chat in chats(corpus, "json"):
        for message in chat.messages:
            if message["role"] == "assistant":
                assert not held_out("schema", *sorted(json.loads(message["content"])))


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: exam.name)
def test_no_question_of_an_exam_was_seen(corpus: list[Document], exam: Exam) -> None:
    seen = {text.rstrip("?.!").lower() for text in texts(corpus)}
    plain = "\n".join(document.text for document in corpus if isinstance(document, PlainText))
    for seed in range(40):
        document = exam.ask(random.Random(seed)).document
        if isinstance(document, PlainText):
            assert document.text not in plain
        else:
            *_, question = (message["content"] for message in document.messages if message["role"] == "user")
            assert question.rstrip("?.!").lower() not in seen or exam.name == "a name told before"


def body_of(made: Function, **scope: Any) -> Any:
    exec(made.source(), scope)
    return scope[made.name]


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=lambda sample: sample.names[0])
def test_a_function_returns_what_its_sample_says(sample: Any) -> None:
    dice, found = Dice(5), 0
    while found < 3:
        made = function(dice)
        if made.sample == sample:
            assert body_of(made)(*sample.arguments) == sample.result
            found += 1


def test_members_of_families_return_what_their_expression_says() -> None:
    dice, names = Dice(6), {family.names[0].partition("$")[0] for family in FAMILIES}
    found = Counter[str]()
    while len(found) < len(names):
        made = function(dice, annotated=dice.random() < 0.5)
        if isinstance(made.sample.result, str) and "$1" in made.sample.result:
            [argument] = made.sample.arguments
            expected = eval(made.sample.result.replace("$1", "argument"), {"argument": argument})
            assert body_of(made)(argument) == expected, made.source()
            found[next((name for name in names if made.name.startswith(name)), "")] += 1
            if sum(found.values()) > 3000:
                break
    assert len(found) > len(names) * 0.8


def test_what_fills_a_hole_makes_the_function_whole(corpus: list[Document]) -> None:
    holes = [document.text for document in corpus if isinstance(document, PlainText) and document.kind == "hole"]
    assert len(holes) > 300
    for text in holes:
        before, rest = text.removeprefix(FIM_PREFIX).split(FIM_SUFFIX)
        after, middle = rest.split(FIM_MIDDLE)
        assert middle
        compile(before + middle + after, "hole", "exec")


def test_objects_have_the_keys_of_their_schema_in_order(corpus: list[Document]) -> None:
    found = 0
    for chat in chats(corpus, "json"):
        for asked, answer in pairwise(chat.messages):
            if '{"type": "object"' in asked["content"] and asked["role"] == "user":
                schema, _ = json.JSONDecoder().raw_decode(asked["content"][asked["content"].index('{"type"') :])
                assert list(json.loads(answer["content"])) == schema["required"] == list(schema["properties"])
                found += 1
    assert found > 500


def test_calls_are_to_tools_that_are_there_with_all_their_arguments_which_the_question_names(
    corpus: list[Document],
) -> None:
    calls = 0
    for chat in chats(corpus, "tools"):
        parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in chat.tools}
        asked = ""
        for message in chat.messages:
            asked = message["content"] if message["role"] == "user" else asked
            for body in re.findall(r"<tool_call>\n(.*)\n</tool_call>", message["content"]):
                call = json.loads(body)
                assert list(call["arguments"]) == parameters[call["name"]]["required"]
                assert all(str(value) in asked for value in call["arguments"].values())
                calls += 1
    assert calls > 1000


def test_days_and_months_follow_each_other(corpus: list[Document]) -> None:
    found = 0
    for text in texts(corpus):
        if match := re.fullmatch(r"((?:\w+, )*\w+)\. It is (\w+)\.", text):
            path = match[1].split(", ")
            names = DAYS if path[0] in DAYS else MONTHS
            places = [names.index(name) for name in path]
            assert all((later - earlier) % len(names) == 1 for earlier, later in pairwise(places))
            assert path[-1] == match[2]
            found += 1
    assert found > 100


def test_thought_comes_before_the_last_answer_and_never_unasked(corpus: list[Document]) -> None:
    thinking = chats(corpus, "thinking")
    assert 0.3 < sum(chat.thinking for chat in thinking) / len(thinking) < 0.7
    for chat in thinking:
        *_, asked, answer = chat.messages
        assert re.fullmatch(r"<think>\n.*\S.*\n</think>\n\n\S.*", answer["content"], re.DOTALL)
        assert chat.thinking or re.search("think|reason", asked["content"], re.IGNORECASE)
    assert not any(
        "<think>" in text for text in texts([document for document in corpus if document.kind != "thinking"])
    )


def test_a_template_is_expanded_to_one_of_all_its_texts() -> None:
    template = "[Tell|Write] [me |]a [short[, sad|] |]story about {hero}[.|]"
    assert len(every(template)) == 24
    dice = Dice(7)
    told = {expand(dice, template, {"hero": "{x}"}) for _ in range(2000)}
    assert told == {text.replace("{hero}", "{x}") for text in every(template)}
