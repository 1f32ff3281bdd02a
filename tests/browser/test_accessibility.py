"""What axe-core finds, in both themes and at both widths."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.e2e.server import ServerProcess

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def serious(page: Page) -> list[dict[str, Any]]:
    violations = (await Axe().run(page)).response["violations"]
    return [violation for violation in violations if violation["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_chat_has_no_serious_violation(
    open_page: OpenPage, demo_server: ServerProcess, theme: str, width: int
) -> None:
    page = await open_page(demo_server.url, width=width, color_scheme=theme)
    await page.get_by_role("button", name="Tokens").click()
    await send(page, "What is a KV cache?")
    await ended(page)
    await page.locator(".token").first.focus()
    found = await serious(page)
    await page.get_by_role("link", name="Completion").click()
    await expect(page.locator("#completion-text")).to_be_visible()
    found += await serious(page)
    assert [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found] == []
