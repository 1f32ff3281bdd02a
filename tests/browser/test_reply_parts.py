"""Replies that are more than text: collapsed reasoning, tool calls as cards, formatted JSON."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, Serve
from tests.browser.test_chat import ended, send
from tests.browser.test_conversation import answer
from tests.scripted_engine import ScriptedEngine, byte_tokenizer
from tests.test_api_tools import CALL, TEMPLATE, THOUGHT, TOOL

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


@pytest_asyncio.fixture(loop_scope="package")
async def thinking_url(scripted: Serve) -> str:
    """A model whose template knows reasoning and tools."""
    return await scripted(load_tokenizer=lambda: byte_tokenizer(TEMPLATE))


async def test_reasoning_is_collapsed_and_not_sent_again(
    open_page: OpenPage, thinking_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(thinking_url)
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("<think>\nWhat is asked? ")
    reasoning = page.locator(".reasoning")
    await expect(reasoning.locator("summary")).to_have_text("Reasoning…")
    engine.write("A sum.\n</think>\n\nSeven.")
    engine.end()
    await ended(page)
    await expect(reasoning.locator("summary")).to_have_text("Reasoning · 5 words")
    await expect(reasoning.locator(".markdown")).to_be_hidden()
    await reasoning.locator("summary").click()
    await expect(reasoning.locator(".markdown")).to_have_text("What is asked? A sum.")
    await send(page, "and?")
    assert await answer(engine, 1, "Eight.") == "user:go|assistant:Seven.|user:and?|assistant:"
    await ended(page, 2)


async def test_a_tool_call_is_a_card(open_page: OpenPage, thinking_url: str, engine: ScriptedEngine) -> None:
    page = await open_page(thinking_url)
    await page.locator("#settings").get_by_text("More", exact=True).click()
    tools = page.locator("#settings").get_by_label("Tools", exact=True)
    await tools.fill("{}")
    await expect(page.locator("#settings").get_by_text("This must be a JSON list")).to_be_visible()
    await tools.fill(json.dumps([TOOL]))
    await send(page, "add")
    prompt = await answer(engine, 0, f"{THOUGHT}Let me.\n{CALL}")
    assert prompt.startswith('{"type": "function"')
    await ended(page)
    card = page.get_by_role("region", name="Tool call")
    await expect(card.get_by_role("heading")).to_have_text("add")
    await expect(card.locator("pre")).to_have_text('{\n  "a": 1,\n  "b": "é"\n}', use_inner_text=True)
    await expect(page.locator(".reasoning summary")).to_have_text("Reasoning · 1 word")
    await expect(page.locator("#turns .figures")).to_contain_text("finish: tool_calls")


async def test_an_interrupted_tool_call_is_generated_again(
    open_page: OpenPage, thinking_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(thinking_url)
    await page.locator("#settings").get_by_text("More", exact=True).click()
    await page.locator("#settings").get_by_label("Tools", exact=True).fill(json.dumps([TOOL]))
    await page.locator("#settings").get_by_label("Max tokens").fill("200")
    await send(page, "add")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write('Let me.\n<tool_call>\n{"name": "add", "arguments": {"a": ')
    card = page.get_by_role("region", name="Tool call")
    await expect(card.get_by_role("heading")).to_have_text("add")
    engine.die()
    await engine.until(lambda: len(engine.submissions) == 2)
    assert engine.submissions[1].prompt_token_ids == engine.submissions[0].prompt_token_ids
    assert engine.submissions[1].params.max_tokens == 200
    engine.write(CALL, 1)
    engine.end(index=1)
    await ended(page)
    await expect(card).to_have_count(1)
    await expect(page.locator(".reply").get_by_text("Let me.")).to_have_count(0)


async def test_json_is_formatted_once_it_is_complete(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write('{"mill": {"sails":')
    await expect(page.locator(".reply-body")).to_have_text('{"mill": {"sails":')
    engine.write(" 4}}")
    engine.end()
    await ended(page)
    block = page.get_by_label("JSON", exact=True)
    await expect(block).to_have_text('{\n  "mill": {\n    "sails": 4\n  }\n}', use_inner_text=True)
