"""What axe-core finds, in both themes and at both widths."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.browser.test_dashboard import generate
from tests.e2e.server import ServerProcess

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

LOOKS = [("light", 1280), ("dark", 390), ("light", 390), ("dark", 1280)]


async def wrong(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds, be it serious or not, and the elements where it is."""
    violations: list[dict[str, Any]] = (await Axe().run(page)).response["violations"]
    return [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in violations]


@pytest.mark.parametrize(("theme", "width"), LOOKS)
async def test_the_chat_has_no_violation(
    open_page: OpenPage, demo_server: ServerProcess, theme: str, width: int
) -> None:
    page = await open_page(demo_server.url, width=width, color_scheme=theme)
    found = await wrong(page)
    await page.get_by_role("button", name="Tokens").click()
    await page.get_by_role("button", name="Compare").click()
    await page.keyboard.press("Escape")
    await send(page, "What is a KV cache?")
    await ended(page, 2)
    await page.locator(".token").first.focus()
    found += await wrong(page)
    await page.get_by_role("button", name="Show tokens").first.click()
    await page.get_by_role("button", name="Edit and send again").click()
    await page.get_by_role("button", name="Conversations", exact=True).click()
    found += await wrong(page)
    found += await wrong(page)
    await page.get_by_role("link", name="Completion").click()
    await expect(page.locator("#completion-text")).to_be_visible()
    found += await wrong(page)
    assert found == []


@pytest.mark.parametrize(("theme", "width"), LOOKS)
async def test_the_dashboard_has_no_violation(
    open_page: OpenPage, demo_server: ServerProcess, theme: str, width: int
) -> None:
    page = await open_page(f"{demo_server.url}/dashboard", width=width, color_scheme=theme)
    await generate(demo_server, 2)
    await expect(page.locator("#requests tbody td.number").first).to_be_visible()
    await page.locator("#charts summary").first.click()
    assert await wrong(page) == []
