"""Keys and focus: Esc closes the nearest thing, the focus is kept, and a screen reader hears whole sentences."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.browser.test_conversation import answer, talk
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def streams(page: Page, engine: ScriptedEngine, index: int = 0) -> None:
    """Something is being answered, and goes on being."""
    engine.write("word ", index)
    await expect(page.locator(".reply[data-state=streaming]")).to_have_count(1)
    assert not engine.closed


async def test_escape_closes_the_nearest_thing_first_and_the_answer_last(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    entry = page.locator("#conversations li")
    await entry.hover()
    await page.get_by_role("button", name="Rename one").click()
    await page.get_by_label("Title of the conversation").fill("two")
    await streams(page, engine)
    await page.keyboard.press("Escape")
    await expect(entry.locator(".conversation")).to_have_text("one")
    await expect(page.get_by_role("button", name="Rename one")).to_be_focused()
    await page.get_by_role("button", name="Delete one").click()
    await streams(page, engine)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_label("Search conversations").fill("o")
    await page.keyboard.press("Escape")
    await expect(page.get_by_label("Search conversations")).to_have_value("")
    await streams(page, engine)
    await page.keyboard.press("Escape")
    await engine.until(lambda: len(engine.closed) == 1)
    await expect(page.locator("#turns .figures")).to_contain_text("stopped by you")


async def test_on_a_narrow_screen_panels_cover_the_conversation_one_at_a_time_until_it_is_wanted(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url, width=390)
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("word ")
    settings, conversations = page.locator("#settings-side"), page.locator("#list-side")
    await page.get_by_role("button", name="Settings").click()
    await expect(settings).to_be_visible()
    await page.get_by_role("button", name="Conversations", exact=True).click()
    await expect(conversations).to_be_visible()
    await expect(settings).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(conversations).to_be_hidden()
    await expect(page.get_by_role("button", name="Conversations", exact=True)).to_be_focused()
    await streams(page, engine)
    await page.get_by_role("button", name="Settings").click()
    await page.locator("#thread").click(position={"x": 20, "y": 200})
    await expect(settings).to_be_hidden()
    await page.keyboard.press("Escape")
    await engine.until(lambda: len(engine.closed) == 1)


async def test_the_focus_stays_in_the_list_while_answers_arrive(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await talk(page, engine, ("one", "first"))
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await send(page, "two")
    await engine.until(lambda: len(engine.submissions) == 2)
    await expect(page.locator("#conversations .conversation")).to_have_text(["two", "one"])
    await page.get_by_role("button", name="one", exact=True).focus()
    await answer(engine, 1, "second")
    await ended(page)
    await expect(page.get_by_role("button", name="one", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#title")).to_have_text("one")
    await expect(page.get_by_role("button", name="one", exact=True)).to_be_focused()


async def test_the_focus_is_not_lost_with_the_button_that_was_pressed(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await talk(page, engine, ("one", "first"))
    await page.get_by_role("button", name="Regenerate").press("Enter")
    await answer(engine, 1, "second")
    await ended(page)
    await expect(page.locator("#thread")).to_be_focused()
    await page.get_by_role("button", name="Edit and send again").press("Enter")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Edit and send again")).to_be_focused()
    await page.get_by_role("link", name="Completion").click()
    await page.get_by_label("Text to continue").fill("Once")
    await page.get_by_role("button", name="Continue", exact=True).press("Enter")
    await engine.until(lambda: len(engine.submissions) == 3)
    await expect(page.get_by_role("button", name="Stop")).to_be_focused()
    await page.keyboard.press("Escape")
    await engine.until(lambda: engine.submissions[2].stream in engine.closed)
    await expect(page.get_by_role("button", name="Continue", exact=True)).to_be_focused()


async def test_a_screen_reader_hears_each_sentence_once_and_how_it_ended(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    spoken = page.get_by_role("log")
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("A first sentence. A second")
    await expect(spoken.locator("p")).to_have_text(["A first sentence."])
    engine.write(" one. " + "And " * 2_000 + "no more.")
    engine.end()
    await ended(page)
    await expect(spoken.locator("p").last).to_have_text(re.compile(r"And no more\. End of the answer\.$"))
    said = await spoken.inner_text()
    assert said.count("first sentence") == 1
    assert len(said) < 3_000
    await page.get_by_role("link", name="Completion").click()
    await page.get_by_label("Text to continue").fill("Once")
    await page.keyboard.press("Control+Enter")
    await answer(engine, 1, "upon a time.")
    await expect(spoken.locator("p").last).to_have_text("upon a time. End of the answer.")


async def test_reduced_motion_is_respected(open_page: OpenPage, scripted_url: str, engine: ScriptedEngine) -> None:
    page = await open_page(scripted_url, reduced_motion="reduce")
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    await page.locator(".reply[data-state=waiting]").wait_for()
    style = """(element) => {
        const { animationName, animationDuration, animationIterationCount } = getComputedStyle(element, "::after");
        return [animationName, animationDuration, animationIterationCount];
    }"""
    assert await page.locator(".reply-body").evaluate(style) == ["breathe", "0.001s", "1"]
