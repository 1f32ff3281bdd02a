"""Two tabs of one browser: they show the same conversations, and do not undo each other's turns."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.browser.test_conversation import answer
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def test_one_tab_shows_what_the_other_generates_and_does_not_write_meanwhile(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    first = await open_page(scripted_url)
    second = await first.context.new_page()
    await second.goto(scripted_url)
    await send(first, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("Half an ")
    await second.get_by_role("button", name="one", exact=True).click()
    await expect(second.locator(".prompt-text")).to_have_text("one")
    await send(second, "two")
    await expect(second.locator("#toast")).to_contain_text("being answered in another tab")
    await expect(second.get_by_label("Message", exact=True)).to_have_value("two")
    engine.write("answer")
    engine.end()
    await ended(second)
    await expect(second.locator(".reply-body")).to_have_text("Half an answer")
    await second.get_by_role("button", name="Send", exact=True).click()
    assert await answer(engine, 1, "Another.") == "user:one|assistant:Half an answer|user:two|assistant:"
    await first.bring_to_front()
    await ended(first, 2)
    await expect(first.locator(".reply-body")).to_have_text(["Half an answer", "Another."])
    await first.locator("#conversations li").hover()
    await first.get_by_role("button", name="Delete one").click()
    await first.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(second.locator("#conversations li")).to_have_count(0)
    await expect(second.locator("#title")).to_have_text("New conversation")


async def test_an_answer_abandoned_by_its_tab_can_be_continued(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    first = await open_page(scripted_url)
    await send(first, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("Half")
    await expect(first.locator(".reply-body")).to_have_text("Half")
    second = await first.context.new_page()
    await second.goto(scripted_url)
    await second.get_by_role("button", name="one", exact=True).click()
    await expect(second.locator(".prompt-text")).to_have_text("one")
    await first.close()
    await second.reload()
    await expect(second.locator(".reply .notice")).to_contain_text(
        "The page was closed before the answer was complete."
    )
    await second.get_by_role("button", name="Continue").click()
    assert await answer(engine, 1, " an answer") == "user:one|assistant:Half"
    await ended(second)
    await expect(second.locator(".reply-body")).to_have_text("Half an answer")


async def test_conversations_stored_by_an_older_page_are_migrated(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    """Its records held the turns within the conversation."""
    page = await open_page(f"{scripted_url}/dashboard")
    reply: dict[str, Any] = {
        "text": "first",
        "reasoning": "",
        "toolCalls": [],
        "tokens": None,
        "state": "done",
        "finishReason": "stop",
    }
    reply |= {"notice": "", "settings": {}, "usage": None, "seconds": {"toFirst": 0.1, "generating": 0}}
    kept: dict[str, Any] = {
        "id": "a1",
        "title": "",
        "created": 1,
        "updated": 1,
        "system": "Be brief.",
        "settings": [{}, {}],
    }
    kept |= {"comparing": False, "turns": [{"prompt": "one", "replies": [reply]}]}
    await page.evaluate(
        """(kept) => new Promise((resolve) => {
            const opening = indexedDB.open("millrace", 1);
            opening.onupgradeneeded = () => {
                const made = (name) => opening.result.createObjectStore(name, {keyPath: "id"});
                const stores = ["conversations", "summaries"].map(made);
                stores[0].put(kept);
                stores[1].put({id: kept.id, title: "one", updated: 1, text: "one"});
            };
            opening.onsuccess = () => { opening.result.close(); resolve(); };
        })""",
        kept,
    )
    await page.goto(scripted_url)
    await page.get_by_role("button", name="one", exact=True).click()
    await expect(page.locator(".reply-body")).to_have_text("first")
    await send(page, "two")
    assert await answer(engine, 0, "second") == "system:Be brief.|user:one|assistant:first|user:two|assistant:"
    await ended(page, 2)
    await page.reload()
    await expect(page.locator(".reply-body")).to_have_text(["first", "second"])
