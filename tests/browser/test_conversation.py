"""The actions on a conversation: regenerate, edit, continue, copy, export and import."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from app.messages import FinishReason
from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.scripted_engine import EOS, ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

CLIPBOARD = ["clipboard-read", "clipboard-write"]


async def answer(engine: ScriptedEngine, index: int, text: str, reason: FinishReason = FinishReason.STOP) -> str:
    """Write the answer to the request with this number, whole; gives what was asked."""
    await engine.until(lambda: len(engine.submissions) == index + 1)
    engine.write(text, index)
    if reason is FinishReason.STOP:
        engine.submissions[index].stream.push(EOS, None, time.monotonic())
    engine.end(reason, index)
    return bytes(engine.submissions[index].prompt_token_ids).decode()


async def talk(page: Page, engine: ScriptedEngine, *turns: tuple[str, str]) -> None:
    for index, (prompt, text) in enumerate(turns):
        await send(page, prompt)
        await answer(engine, index, text)
        await ended(page, index + 1)


async def test_an_answer_is_regenerated(open_page: OpenPage, scripted_url: str, engine: ScriptedEngine) -> None:
    page = await open_page(scripted_url)
    await talk(page, engine, ("one", "first"))
    await page.get_by_role("button", name="Regenerate").click()
    assert await answer(engine, 1, "second") == "user:one|assistant:"
    await ended(page)
    await expect(page.locator(".reply-body")).to_have_text("second")


async def test_a_prompt_is_edited_and_sent_again_and_later_turns_are_dropped(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await talk(page, engine, ("one", "A"), ("two", "B"))
    await page.get_by_label("Message", exact=True).focus()
    await page.keyboard.press("ArrowUp")
    editor = page.get_by_label("Prompt", exact=True)
    await expect(editor).to_be_focused()
    await expect(editor).to_have_value("two")
    await editor.fill("three")
    await editor.press("Enter")
    assert await answer(engine, 2, "C") == "user:one|assistant:A|user:three|assistant:"
    await ended(page, 2)
    await page.get_by_role("button", name="Edit and send again").first.click()
    await editor.press("Escape")
    await expect(page.locator(".prompt-text")).to_have_text(["one", "three"])
    await page.get_by_role("button", name="Edit and send again").first.click()
    await editor.fill("uno")
    await page.get_by_role("button", name="Send again", exact=True).click()
    assert await answer(engine, 3, "D") == "user:uno|assistant:"
    await ended(page)
    await expect(page.locator(".prompt-text")).to_have_text(["uno"])


async def test_an_answer_that_was_stopped_or_cut_off_can_be_continued(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await send(page, "count")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("1, 2")
    await expect(page.locator(".reply-body")).to_have_text("1, 2")
    await page.keyboard.press("Escape")
    await engine.until(lambda: engine.closed == [engine.submissions[0].stream])
    await expect(page.locator("#turns .figures")).to_contain_text("stopped by you")
    await page.get_by_role("button", name="Continue").click()
    assert await answer(engine, 1, ", 3", FinishReason.LENGTH) == "user:count|assistant:1, 2"
    await ended(page)
    await page.get_by_role("button", name="Continue").click()
    assert await answer(engine, 2, ", 4") == "user:count|assistant:1, 2, 3"
    await expect(page.locator(".reply-body")).to_have_text("1, 2, 3, 4")
    await ended(page)
    await expect(page.get_by_role("button", name="Continue")).to_be_hidden()


async def test_an_answer_and_its_code_are_copied_as_they_were_written(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url, permissions=CLIPBOARD)
    text = "Some **code**:\n\n```py\nx = [1]\n```"
    await talk(page, engine, ("go", text))
    await page.get_by_role("button", name="Copy answer").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == text
    await page.locator(".code").get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert await page.evaluate("navigator.clipboard.readText()") == "x = [1]"


async def test_conversations_are_taken_to_another_browser(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, tmp_path: Path
) -> None:
    page = await open_page(scripted_url)
    await page.get_by_label("System prompt").fill("Be brief.")
    await talk(page, engine, ("one", "first **answer**"))
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export all").click()
    await (await download.value).save_as(tmp_path / "conversations.json")
    [kept] = json.loads((tmp_path / "conversations.json").read_text())["conversations"]
    assert (kept["system"], kept["turns"][0]["prompt"]) == ("Be brief.", "one")

    other = await open_page(scripted_url)
    await expect(other.locator("#no-conversations")).to_have_text("Conversations are stored in this browser.")
    (tmp_path / "other.json").write_text('{"conversations": []}')
    whole = json.loads((tmp_path / "conversations.json").read_text())
    whole["conversations"][0]["settings"] = [{"temperature": "hot", "stop": 3, "top_k": 5, "prompt": "mine"}, None]
    (tmp_path / "conversations.json").write_text(json.dumps(whole))
    await other.get_by_label("File to import").set_input_files(tmp_path / "other.json")
    await expect(other.locator("#toast")).to_contain_text("not an export of conversations")
    await other.get_by_label("File to import").set_input_files(tmp_path / "conversations.json")
    await other.get_by_role("button", name="one", exact=True).click()
    await expect(other.locator(".reply-body strong")).to_have_text("answer")
    await expect(other.get_by_label("System prompt")).to_have_value("Be brief.")
    await expect(other.locator("#settings").get_by_label("Top-k")).to_have_value("5")
    await send(other, "two")
    await answer(engine, 1, "second")
    await ended(other, 2)
    assert engine.submissions[1].params.top_k == 5
