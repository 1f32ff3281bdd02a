"""A long reply keeps the page responsive, and the longest time it did not is printed."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

PARAGRAPH = "Some *words* of a **long** answer with `code` and a list:\n\n- one\n- two\n\n```py\nx = [1, 2, 3]\n```\n\n"


async def test_a_reply_of_4000_tokens_leaves_the_page_responsive(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    text = (PARAGRAPH * 50)[:4000]
    page = await open_page(scripted_url)
    await page.evaluate(
        """() => {
            window.longest = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
            }).observe({type: 'longtask'});
        }"""
    )
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    for char in text:
        engine.write(char)
        await asyncio.sleep(0)
    engine.end()
    await ended(page)
    longest = await page.evaluate("longest")
    print(f"longest task while 4,000 tokens came: {longest or 'under 50'} ms")
    assert await page.locator(".markdown > .code").count() > 20
