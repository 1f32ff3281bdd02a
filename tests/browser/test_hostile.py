"""Texts that a model, or a file, could hold to do harm in a browser: they are text, wherever they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

HOSTILE = {
    "script tags": "<script>alert(1)</script> and <ScRiPt src=//evil>alert(2)</sCrIpT>",
    "event handlers": '<img src=x onerror="alert(1)"><svg onload=alert(2)><body onpageshow=alert(3)>',
    "addresses that are code": "[click](javascript:alert(1)) <javascript:alert(2)> ![x](data:text/html,alert(3))",
    "hidden addresses": "[a](java\tscript:alert(1)) [b](JaVaScRiPt:alert(2)) [c](vbscript:alert(3)) [d](//evil)",
    "broken Markdown": "```js\nalert(1)\n\n" + "**_~~[`" * 300 + "\n" + ">" * 400 + "\n" + "- " * 300 + "\n|a|\n|-|-|",
    "markup in code": "`<img src=x onerror=alert(1)>`\n\n```html\n<script>alert(2)</script>\n```",
    "calls and reasoning": "<think><script>alert(1)</script></think><tool_call>{'<img onerror=alert(2)>'}</tool_call>",
    "direction controls": "\u202etxt.exe\u202c and \u2066isolated\u2069 `\u202eedoc`",
    "a million characters on one line": "a<b>" * 250_000,
}
ALL = "\n\n".join(text for text in HOSTILE.values() if len(text) < 10_000)


async def open_guarded(open_page: OpenPage, url: str) -> Page:
    """A page that notices when something of a text is executed."""
    page = await open_page(url)
    await page.evaluate("() => { window.alert = window.confirm = () => { window.executed = true; } }")
    return page


async def assert_is_text(page: Page, place: str) -> None:
    """What is in `place` executed nothing, loads nothing, and links to web addresses only."""
    assert await page.evaluate("window.executed") is None
    assert await page.locator(f"{place} :is(script, img, iframe, svg:not(.icon), object, style)").count() == 0
    assert (
        await page.locator(f"{place} a").evaluate_all(
            "all => all.filter(({ href }) => !/^(https?|mailto):/.test(href))"
        )
        == []
    )
    handlers = "all => all.flatMap((one) => one.getAttributeNames()).filter((name) => name.startsWith('on'))"
    assert await page.locator(f"{place} *").evaluate_all(handlers) == []


def letters(text: str) -> list[str]:
    return [char for char in text if char.isalnum() and char.isascii()]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_text_is_text(open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, text: str) -> None:
    page = await open_guarded(open_page, scripted_url)
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write(text)
    engine.end()
    await ended(page)
    await assert_is_text(page, ".reply-body")
    shown = await page.locator(".reply-body").evaluate("element => element.textContent")
    assert len(letters(shown)) >= 0.6 * len(letters(text))


async def test_hostile_tokens_are_text_and_so_is_a_hostile_completion(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_guarded(open_page, scripted_url)
    await page.get_by_role("button", name="Tokens").click()
    await send(page, ALL)
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write(ALL)
    engine.end()
    await ended(page)
    await page.locator(".token").last.focus()
    await expect(page.locator(".token-details")).to_be_visible()
    await assert_is_text(page, "main")
    await page.get_by_role("link", name="Completion").click()
    await page.get_by_label("Text to continue").fill(ALL)
    await page.keyboard.press("Control+Enter")
    await engine.until(lambda: len(engine.submissions) == 2)
    engine.write(ALL, 1)
    engine.end(index=1)
    await expect(page.locator("#completion-actions")).to_be_visible()
    await assert_is_text(page, "main")


async def test_a_file_full_of_hostile_text_is_text(open_page: OpenPage, scripted_url: str, tmp_path: Path) -> None:
    reply: dict[str, Any] = {"text": ALL, "reasoning": ALL, "notice": ALL, "finishReason": ALL, "state": "interrupted"}
    reply |= {"toolCalls": [{"id": ALL, "name": ALL, "arguments": ALL}], "settings": {"stop": [ALL]}}
    turn = {"prompt": ALL, "replies": [reply, reply | {"settings": {"cache_salt": ALL}}]}
    whole = {"title": ALL, "system": ALL, "settings": [{"stop": [ALL]}, {}], "turns": [turn], "comparing": True}
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps({"format": "millrace.conversations", "version": 1, "conversations": [whole]}))
    page = await open_guarded(open_page, scripted_url)
    await page.get_by_label("File to import").set_input_files(file)
    await page.locator("#conversations .conversation").click()
    await expect(page.locator(".reply .tool-call")).to_have_count(2)
    await page.get_by_role("button", name="Edit and send again").click()
    await assert_is_text(page, "main")
    await page.locator("#conversations li").hover()
    await page.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await assert_is_text(page, "dialog")
