"""A conversation in the browser, with the embedded model and with a script in its place."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.e2e.server import ServerProcess
from tests.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="package")

WRITTEN = "new MutationObserver(() => lengths.push(document.querySelector('.turns').textContent.length))"


async def send(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def ended(page: Page, count: int = 1) -> None:
    await expect(page.locator(".reply[data-state=done]")).to_have_count(count)


async def ask_for(page: Page, num_tokens: int) -> None:
    """Have every answer be as long as this, whatever the model would say."""
    await page.locator("#settings").get_by_label("Ignore the end token").check()
    await page.locator("#settings").get_by_label("Max tokens").fill(str(num_tokens))


async def within(seconds: float, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.01)


async def test_an_answer_grows_over_several_frames_and_shows_its_figures(
    open_page: OpenPage, demo_server: ServerProcess
) -> None:
    page = await open_page(demo_server.url)
    await expect(page.get_by_role("status").filter(has_text="Ready")).to_be_visible()
    await ask_for(page, 800)
    await page.evaluate(
        f"lengths = []; {WRITTEN}.observe(document.querySelector('.turns'), {{subtree: true, childList: true}})"
    )
    await send(page, "Tell me a short story.")
    await ended(page)
    assert len(set(await page.evaluate("lengths"))) > 3
    await expect(page.locator("#turns .figures")).to_contain_text(
        re.compile(r"TTFT.*tokens/s.*800 output.*prompt.*cached.*finish: length")
    )


async def test_stopping_ends_the_work_on_the_server_within_a_second(
    open_page: OpenPage, demo_server: ServerProcess
) -> None:
    page = await open_page(demo_server.url)
    await page.locator("#settings").get_by_label("Ignore the end token").check()
    await send(page, "Tell me a long story.")
    await page.locator(".reply[data-state=streaming]").wait_for()
    await page.keyboard.press("Escape")
    before = time.monotonic()
    await within(1, demo_server.is_idle)
    print(f"idle {time.monotonic() - before:.3f} s after Stop")
    await expect(page.locator("#turns .figures")).to_contain_text("stopped by you")


async def test_a_conversation_survives_a_reload_and_can_be_found_renamed_and_deleted(
    open_page: OpenPage, demo_server: ServerProcess
) -> None:
    page = await open_page(demo_server.url)
    await send(page, "What is a KV cache?")
    await ended(page)
    answer = await page.locator(".reply-body").text_content()
    await page.reload()
    await expect(page.locator(".reply-body")).to_have_text(answer or "")
    await page.get_by_label("Search conversations").fill("nothing like it")
    await expect(page.locator("#conversations li")).to_have_count(0)
    await page.get_by_label("Search conversations").fill("kv CACHE")
    await page.locator("#conversations li").hover()
    await page.get_by_role("button", name="Rename What is a KV cache?").click()
    await page.get_by_label("Title of the conversation").fill("Caches of KV cache")
    await page.keyboard.press("Enter")
    await expect(page.locator("#title")).to_have_text("Caches of KV cache")
    await page.locator("#conversations li").hover()
    await page.get_by_role("button", name="Delete Caches").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator("#conversations li")).to_have_count(0)
    await expect(page.locator(".reply")).to_have_count(0)


async def test_two_settings_answer_side_by_side_at_the_same_time(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await page.get_by_role("button", name="Compare").click()
    await page.get_by_role("tab", name="Answer B").click()
    await page.locator("#settings").get_by_label("Temperature").first.fill("0.2")
    await send(page, "hello")
    await engine.until(lambda: len(engine.submissions) == 2)
    by_temperature = sorted((0, 1), key=lambda index: -engine.submissions[index].params.temperature)
    for lane, index in enumerate(by_temperature):
        engine.write(f"answer {lane}", index)
    replies = page.locator(".reply")
    await expect(replies.nth(0)).to_contain_text("answer 0")
    await expect(replies.nth(1)).to_contain_text("answer 1")
    await expect(page.locator(".reply[data-state=streaming]")).to_have_count(2)
    assert sorted(submission.params.temperature for submission in engine.submissions) == [0.2, 1.0]
    engine.end(index=0)
    engine.end(index=1)
    await ended(page, 2)


async def test_the_alternatives_of_a_token_are_probabilities(open_page: OpenPage, demo_server: ServerProcess) -> None:
    page = await open_page(demo_server.url)
    await ask_for(page, 20)
    await page.get_by_role("button", name="Tokens").click()
    await send(page, "What is a KV cache?")
    await ended(page)
    tokens = page.locator(".token")
    assert await tokens.count() >= 20
    for index in range(0, await tokens.count(), 4):
        await tokens.nth(index).hover()
        rows = page.locator(".token-details .alternative:not(.rest)")
        shares = [float(await row.get_attribute("data-probability") or "") for row in await rows.all()]
        assert len(shares) >= 5
        assert 0 < sum(shares) <= 1 + 1e-6
    await page.keyboard.press("Tab")
    await tokens.first.focus()
    await page.keyboard.press("ArrowRight")
    await expect(tokens.nth(1)).to_be_focused()
    await expect(page.locator(".token-details")).to_be_visible()
