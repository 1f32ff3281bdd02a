"""Answers of the embedded model that have the form that is asked for, at any temperature, as its users get them."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pytest
from pydantic import BaseModel

from tests.e2e.server import ServerProcess
from tests.e2e.together import streamed, whole

Json = dict[str, Any]
ASKED = [{"role": "user", "content": "Tell me about Ben, who lives in Lisbon."}]
PERSON: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 1, "maximum": 99},
        "born": {"type": "string", "format": "date"},
        "pets": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"kind": {"enum": ["cat", "dog"]}, "is_old": {"type": "boolean"}},
                "required": ["kind"],
                "additionalProperties": False,
            },
            "maxItems": 2,
        },
        "home": {"anyOf": [{"type": "null"}, {"const": "Lisbon"}]},
    },
    "required": ["name", "age", "born", "pets"],
    "additionalProperties": False,
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather in a city.", "parameters": CITY}
TOOLS = [{"type": "function", "function": WEATHER}]
WITHOUT_REASONING = {"chat_template_kwargs": {"enable_thinking": False}}
"""Of which a hot model may do as much as it likes before it answers."""

EVERY_TEMPERATURE = pytest.mark.parametrize("temperature", [0, 1, 2])


def chat(server: ServerProcess, **body: Any) -> Json:
    """The answer, which is the same streamed and whole."""
    asked = {"messages": ASKED, "max_tokens": 300, "seed": 5, **WITHOUT_REASONING} | body
    answered = whole(server.url, "chat/completions", asked)
    assert streamed(server.url, "chat/completions", asked) == answered
    return answered


def texts(server: ServerProcess, **body: Any) -> list[str]:
    choices = chat(server, **body)["choices"]
    assert {choice["finish_reason"] for choice in choices} == {"stop"}
    return [choice["text"] for choice in choices]


@EVERY_TEMPERATURE
def test_answers_validate_against_their_schema(demo_server: ServerProcess, temperature: float) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    found = texts(demo_server, response_format=form, temperature=temperature, n=4)
    assert len(found) == 4
    for text in found:
        jsonschema.validate(json.loads(text), PERSON, format_checker=jsonschema.FormatChecker())


@EVERY_TEMPERATURE
def test_answers_match_expressions_choices_and_grammars(demo_server: ServerProcess, temperature: float) -> None:
    matching: dict[str, Json] = {
        "[A-Z][a-z]{2,9}, [0-9]{4}": {"structured_outputs": {"regex": "[A-Z][a-z]{2,9}, [0-9]{4}"}},
        "yes|no|perhaps": {"structured_outputs": {"choice": ["yes", "no", "perhaps"]}},
        r"\((cat|dog)(, (cat|dog)){0,2}\)": {
            "grammar": 'root ::= "(" pet (", " pet){0,2} ")"\npet ::= "cat" | "dog"',
        },
        "[0-9]{1,3}%": {"structured_outputs": {"grammar": 'start: NUMBER "%"\nNUMBER: /[0-9]{1,3}/'}},
    }
    for pattern, fields in matching.items():
        for text in texts(demo_server, temperature=temperature, n=2, **fields):
            assert re.fullmatch(pattern, text), fields


@EVERY_TEMPERATURE
def test_completions_have_a_form_too(demo_server: ServerProcess, temperature: float) -> None:
    body = {"prompt": ["Ben is ", "The"], "n": 2, "max_tokens": 40, "temperature": temperature, "seed": 1}
    body |= {"json_schema": {"type": "integer", "minimum": 0, "maximum": 150}}
    answered = whole(demo_server.url, "completions", body)
    assert streamed(demo_server.url, "completions", body) == answered
    assert all(0 <= int(choice["text"]) <= 150 for choice in answered["choices"])


@EVERY_TEMPERATURE
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_is_required_comes_and_is_valid(
    demo_server: ServerProcess, choice: Any, temperature: float
) -> None:
    body = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False, "temperature": temperature}
    for answered in chat(demo_server, n=2, **body)["choices"]:
        [call] = answered["calls"]
        assert call["name"] == "get_weather"
        jsonschema.validate(json.loads(call["arguments"]), CITY)
        assert (answered["text"], answered["finish_reason"]) == ("", "tool_calls" if choice == "required" else "stop")


@EVERY_TEMPERATURE
def test_with_tools_an_answer_calls_or_has_its_form(demo_server: ServerProcess, temperature: float) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for question in ("What is the weather in Paris?", "Who is Ben?"):
        body = {"messages": [{"role": "user", "content": question}], "tools": TOOLS, "response_format": form}
        for answered in chat(demo_server, n=2, temperature=temperature, **body)["choices"]:
            if answered["calls"]:
                assert [call["name"] for call in answered["calls"]] == ["get_weather"] * len(answered["calls"])
                assert answered["text"] == ""
            else:
                jsonschema.validate(json.loads(answered["text"]), PERSON)


@pytest.mark.parametrize("begins", [{"enable_thinking": True}, {}])
def test_the_form_begins_behind_the_reasoning(demo_server: ServerProcess, begins: Json) -> None:
    question = [{"role": "user", "content": "What is 17 + 25?"}]
    schema: Json = {"type": "object", "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}}}
    schema |= {"required": ["sum"], "additionalProperties": False}
    body = {"messages": question, "temperature": 0, "chat_template_kwargs": begins, "json_schema": schema}
    [choice] = chat(demo_server, **body)["choices"]
    assert choice["finish_reason"] == "stop"
    assert isinstance(json.loads(choice["text"])["sum"], int)
    assert bool(choice["reasoning"]) is bool(begins)


def test_a_form_that_is_cut_says_so(demo_server: ServerProcess) -> None:
    [choice] = chat(demo_server, json_schema=PERSON, max_tokens=5)["choices"]
    assert choice["finish_reason"] == "length"


def test_the_weather_is_asked_for_where_it_is_wanted(demo_server: ServerProcess) -> None:
    question = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    choices: list[Json] = [{}, {"tool_choice": "required"}]
    for fields in choices:
        [choice] = chat(demo_server, messages=question, tools=TOOLS, temperature=0, **fields)["choices"]
        assert [call["arguments"] for call in choice["calls"]] == ['{"city": "Lisbon"}']


def test_a_schema_that_cannot_be_enforced_is_refused_with_its_place(demo_server: ServerProcess) -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
    form = {"type": "json_schema", "json_schema": {"name": "tags", "schema": schema}}
    body = {"messages": ASKED, "response_format": form, "temperature": 3}
    answer = httpx.post(f"{demo_server.url}/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    for named in ("2 faults", "'temperature'", "#/properties/tags/uniqueItems", "`uniqueItems` cannot be enforced"):
        assert named in error["message"]


class Pet(BaseModel):
    kind: Literal["cat", "dog"]
    age: int


class Person(BaseModel):
    name: str
    pets: list[Pet]
    favourite: Pet | None


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str
    unit: Literal["C", "F"]


@pytest.fixture(scope="module")
def client(demo_server: ServerProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="unused", max_retries=0)


def test_the_openai_client_parses_a_pydantic_model(client: openai.OpenAI) -> None:
    for temperature in (0, 1):
        done = client.chat.completions.parse(
            model="millrace-demo",
            messages=[{"role": "user", "content": "Ben has a cat."}],
            response_format=Person,
            temperature=temperature,
            seed=temperature,
            max_tokens=400,
        )
        assert isinstance(done.choices[0].message.parsed, Person)
        assert done.choices[0].message.refusal is None


def test_the_openai_client_streams_and_parses(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="millrace-demo",
        messages=[{"role": "user", "content": "Ben has a cat."}],
        response_format=Person,
        temperature=0,
        max_tokens=400,
    ) as stream:
        done = stream.get_final_completion()
    assert isinstance(done.choices[0].message.parsed, Person)


def test_strict_tools_of_the_openai_client_are_parsed(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    for choice in ("auto", "required"):
        done = client.chat.completions.parse(
            model="millrace-demo",
            messages=[{"role": "user", "content": "What is the weather in Lisbon?"}],
            tools=[tool],
            tool_choice=choice,
            temperature=0,
            max_tokens=400,
        )
        calls = done.choices[0].message.tool_calls
        assert calls is not None
        assert isinstance(calls[0].function.parsed_arguments, GetWeather)
