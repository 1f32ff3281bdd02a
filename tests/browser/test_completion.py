"""Plain completion in the browser: a text, and what the model writes after it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def test_a_text_is_continued_shown_token_by_token_and_kept(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(f"{scripted_url}/#completion")
    await page.locator("#completion-settings").get_by_label("Stop sequences").fill("END\\n")
    await page.locator("#completion-settings").get_by_label("Seed").fill("7")
    await page.get_by_label("Tokens", exact=True).check()
    await page.get_by_label("Text to continue").fill("def f(")
    await page.keyboard.press("Control+Enter")
    await engine.until(lambda: len(engine.submissions) == 1)
    asked = engine.submissions[0]
    assert (bytes(asked.prompt_token_ids), asked.params.seed, asked.params.max_tokens) == (b"def f(", 7, 128)
    engine.write("x):")
    await expect(page.locator("#completion-output .token")).to_have_text(["x", ")", ":"])
    engine.write("\n  ENDLESS END\n more")
    await expect(page.locator("#completion-figures")).to_contain_text("finish: stop")
    await engine.until(lambda: engine.closed == [asked.stream])
    await page.get_by_label("Tokens", exact=True).uncheck()
    await expect(page.locator("#completion-output")).to_have_text("x):\n  ENDLESS ", use_inner_text=True)
    await page.get_by_role("button", name="Keep and continue").click()
    await expect(page.get_by_label("Text to continue")).to_have_value("def f(x):\n  ENDLESS ")
    await expect(page.locator("#completion-result")).to_be_hidden()
