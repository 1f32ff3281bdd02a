"""Every format of replies is recognised from the chat template, and what the template writes is read back from it."""

from __future__ import annotations

import json
import random

import pytest

from app.text.replies.format import ReplyFormat, TaggedArguments
from app.text.replies.markup import marks_of
from app.text.replies.opening import begun_reply, open_reader
from app.text.replies.parts import CallArguments, CallBegins, Content, Reasoning
from tests.reply_cases import (
    CASES,
    EVERY,
    NESTED,
    PARIS,
    PUBLISHED,
    TOOLS,
    USER,
    WITHOUT_CALLS,
    Call,
    calls_of,
    format_of,
    read,
    read_everyhow,
    text_of,
    written,
)
from tests.reply_templates import TEMPLATES, Style
from tests.scripted_engine import byte_tokenizer


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("template", EVERY)
def test_calls_that_a_template_writes_are_read_back(template: str, case: str) -> None:
    reply_format, _ = format_of(template)
    expected = CASES[case]
    text = written(template, expected)
    if len(expected) > 1 and expected[1][0] not in text:  # the template takes one call at most; models know better
        between = reply_format.channels.start + "assistant" if reply_format.channels else "\n"
        text = between.join(written(template, [call]) for call in expected)
    parts = read_everyhow(reply_format, text)
    assert calls_of(parts) == expected
    assert not text_of(parts, Content)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="published chat templates are not here")
@pytest.mark.parametrize("name", [*WITHOUT_CALLS, "deepseek-v3.1"])
def test_published_templates_that_show_no_tools_offer_none(name: str) -> None:
    """DeepSeek's leaves it to the conversation to say which tools there are, and writes calls."""
    reply_format = byte_tokenizer((PUBLISHED / f"{name}.jinja").read_text(encoding="utf-8")).reply_format
    assert (reply_format.calls_tools, reply_format.reads_calls) == (False, name not in WITHOUT_CALLS)


UNREADABLE = {
    "no call at all": "",
    "a name in the text": "I call {{ f.name }}.",
    "lines": "call {{ f.name }}\n{% for k, v in f.arguments.items() %}{{ k }}: {{ v }}\n{% endfor %}",
    "a name without markup": "{{ f.name }} {{ f.arguments | tojson }}",
    "an error": "{{ raise_exception('no') }}",
}


@pytest.mark.parametrize("calls", UNREADABLE)
def test_a_form_that_cannot_be_told_apart_from_text_is_not_read(calls: str) -> None:
    each = "{% for c in m.tool_calls or [] %}{% set f = c.function %}" + UNREADABLE[calls] + "{% endfor %}"
    reply_format = byte_tokenizer(Style(each).template).reply_format
    assert (reply_format.shows_tools, reply_format.calls_tools) == (True, False)


def test_a_template_that_takes_no_call_without_arguments_is_recognised_all_the_same() -> None:
    template = TEMPLATES["qwen-coder"]
    named = "{% set f = c.function %}"
    strict = template.replace(named, f"{named}{{% if not f.arguments %}}{{{{ raise_exception('none') }}}}{{% endif %}}")
    reply_format, _ = format_of(strict)
    assert reply_format.calls is not None
    assert reply_format.calls.openings == ("<tool_call>", "<function=")
    for call in (PARIS, NESTED):
        assert calls_of(read_everyhow(reply_format, written(strict, [call]))) == [call]


@pytest.mark.parametrize("template", EVERY)
def test_a_string_may_contain_the_markup(template: str) -> None:
    reply_format, _ = format_of(template)
    assert reply_format.calls is not None
    marks = [*marks_of(reply_format.calls.begin), *marks_of(reply_format.calls.end)]
    if isinstance(tags := reply_format.calls.arguments, TaggedArguments):
        marks += [*marks_of(tags.key_begin), *marks_of(tags.value_end)]
    value = " ".join(f"{mark} x" for mark in marks)
    expected: list[Call] = [("store-all", {"text": value, "flag": True})]
    assert calls_of(read_everyhow(reply_format, written(template, expected))) == expected


@pytest.mark.parametrize("template", EVERY)
def test_text_and_reasoning_before_a_call_are_told_apart(template: str) -> None:
    """As far as the template writes them, and in the way in which it writes them without calls."""
    reply_format, _ = format_of(template)
    text = written(template, [PARIS], content="Let me look.", reasoning_content="Hm, so\nthey ask.")
    if not text:
        pytest.skip("takes one or the other")
    parts = read_everyhow(reply_format, text)
    assert calls_of(parts) == [PARIS]
    assert text_of(parts, Content) == ("Let me look." if "Let me look." in text else "")
    if "Hm, so" in text:
        assert text_of(parts, Reasoning) == "Hm, so\nthey ask."


@pytest.mark.parametrize("template", EVERY)
def test_a_call_follows_text_or_reasoning_that_the_model_writes(template: str) -> None:
    reply_format, _ = format_of(template)
    call = written(template, [PARIS])
    reasoning = reply_format.reasoning
    if reasoning and reasoning.end in call:
        call = call.partition(reasoning.end)[2]
    said = f"Let me look.\n{call}"
    if reply_format.channels:
        said = f"<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant{call}"
    parts = read_everyhow(reply_format, said)
    assert (calls_of(parts), text_of(parts, Content)) == ([PARIS], "Let me look.")
    if reasoning:
        thought = f"They say: {call.replace('<|start|>', '').split('<|')[0] if reply_format.channels else call} ok"
        parts = read_everyhow(reply_format, f"{reasoning.begin}{thought}{reasoning.end_text}{call}")
        assert (calls_of(parts), text_of(parts, Content)) == ([PARIS], "")
        assert text_of(parts, Reasoning) == thought.strip()


@pytest.mark.parametrize("template", EVERY)
def test_reasoning_that_the_prompt_begins_is_read_as_such(template: str) -> None:
    reply_format, probe = format_of(template)
    reasoning = reply_format.reasoning
    if reasoning is None:
        pytest.skip("does not reason")
    for thinking in (True, False, None):
        variables = {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}
        prompt = probe(USER, add_generation_prompt=True, **variables)
        begun = begun_reply(reply_format, prompt)
        opens = prompt.rstrip().endswith(reasoning.begin)
        assert bool(begun) == opens
        if opens:
            parts = read_everyhow(reply_format, f"so{reasoning.end_text}yes", begun)
            assert parts == [Reasoning("so"), Content("yes")]


@pytest.mark.parametrize("template", EVERY)
def test_a_call_of_a_tool_that_is_not_offered_is_content_as_it_stands(template: str) -> None:
    reply_format, _ = format_of(template)
    text = written(template, [PARIS])
    others = {name: schema for name, schema in TOOLS.items() if name != "get_weather"}
    reasoning = reply_format.reasoning
    if reasoning and reasoning.end in text:
        text = text.partition(reasoning.end)[2].lstrip()
    for pieces in ([text], list(text)):
        parts, is_broken = read(reply_format, pieces, tools=others)
        assert not is_broken
        assert not calls_of(parts)
        shown = text.removeprefix("<|start|>assistant") if reply_format.channels else text
        assert text_of(parts, Content).removeprefix("<|start|>assistant").startswith(shown[:20])


@pytest.mark.parametrize("template", EVERY)
def test_a_call_that_is_cut_is_broken_or_not_begun(template: str) -> None:
    reply_format, _ = format_of(template)
    text = written(template, [NESTED])
    for at in range(len(text)):
        reader = open_reader(reply_format, TOOLS)
        parts = [*reader.feed(text[:at]), *reader.finish(was_cut=True)]
        begun = any(isinstance(part, CallBegins) for part in parts)
        arguments = "".join(part.text for part in parts if isinstance(part, CallArguments))
        assert begun or not reader.has_broken_call
        if begun and not reader.has_broken_call:
            assert json.loads(arguments) == NESTED[1]
        assert "store-all" not in "".join(part.text for part in parts if isinstance(part, Content))


def noise(rng: random.Random, text: str, reply_format: ReplyFormat) -> str:
    """A reply with a few characters changed, or marks added, or with its end missing."""
    calls = reply_format.calls
    assert calls is not None
    marks = [*marks_of(calls.begin), *marks_of(calls.end), *marks_of(calls.after_name), "now", "get_weather"]
    if reply_format.reasoning:
        marks += [reply_format.reasoning.begin, reply_format.reasoning.end]
    characters = list(text)
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        mark = rng.choice([*marks, "", *"{}[]()\",:;\\<>= \n'x1", "\\ud83d", '"""'])
        characters[rng.randrange(len(characters))] = mark
    return "".join(characters)[: rng.choice([20, 60, 120, None, None])]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("template", EVERY)
def test_whatever_a_model_writes_is_read_the_same_however_it_is_cut(template: str, seed: int) -> None:
    rng = random.Random(seed)
    reply_format, _ = format_of(template)
    calls = rng.choices([*CASES.values()], k=rng.choice([1, 2]))
    text = noise(rng, "\n".join([rng.choice(["", "So: "]), *(written(template, call) for call in calls)]), reply_format)
    begun = rng.choice(["", "", reply_format.reasoning.begin if reply_format.reasoning else ""])
    pieces = [[text[at : at + size] for at in range(0, len(text), size)] for size in (10_000, 1, 2, 3, 7)]
    first, *others = [read(reply_format, each, begun) for each in pieces]
    assert all(other == first for other in others)
    parts, is_broken = first
    for part in parts:
        part[0].encode()
    assert {part.name for part in parts if isinstance(part, CallBegins)} <= TOOLS.keys()
    if not is_broken:
        assert all(isinstance(arguments, dict) for _, arguments in calls_of(parts))
