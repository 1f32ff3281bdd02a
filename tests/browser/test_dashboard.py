"""The dashboard against a live server: what it shows is what was measured there."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.e2e.server import ServerProcess

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def generate(server: ServerProcess, count: int, max_tokens: int = 12) -> None:
    body = {"prompt": "The miller went to the mill.", "max_tokens": max_tokens, "ignore_eos": True}
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await asyncio.gather(*(client.post("/v1/completions", json=body) for _ in range(count)))


def tile(page: Page, label: str) -> Locator:
    """The large number under this label."""
    return page.locator("dl.tiles > div").filter(has_text=re.compile(f"^{label}")).locator("dd.value")


async def test_the_idle_dashboard_agrees_with_the_metrics(open_page: OpenPage, demo_server: ServerProcess) -> None:
    page = await open_page(f"{demo_server.url}/dashboard")
    await generate(demo_server, 3)
    metrics = demo_server.metrics()
    assert demo_server.is_idle()
    ended = int(metrics['millrace_request_success_total{finished_reason="length"}'])
    await expect(page.locator("#ends li", has_text="length").locator(".number")).to_have_text(str(ended))
    hits, queries = (metrics[f"millrace_prefix_cache_{name}_total"] for name in ("hits", "queries"))
    await expect(tile(page, "Prefix cache")).to_have_text(
        re.compile(f"^{100 * hits / queries:.1f}".rstrip("0").rstrip("."))
    )
    await expect(tile(page, "Running")).to_have_text("0")
    await expect(tile(page, "KV cache")).to_have_text("0 %")
    await expect(page.locator("#requests tbody tr").first).to_contain_text("length")


async def test_before_the_first_request_every_part_says_that_there_is_nothing(
    open_page: OpenPage, scripted_url: str
) -> None:
    page = await open_page(f"{scripted_url}/dashboard")
    await expect(page.locator("#charts")).to_contain_text("No step yet")
    await expect(page.locator("#ends")).to_contain_text("None has ended yet.")
    await expect(page.locator("#scatters text").filter(has_text="No request has ended yet")).to_have_count(2)
    await expect(page.locator("#requests tbody")).to_have_text("No request has ended yet.")


async def test_a_column_sorts_the_requests_from_the_keyboard(open_page: OpenPage, demo_server: ServerProcess) -> None:
    page = await open_page(f"{demo_server.url}/dashboard")
    for max_tokens in (3, 9, 6):
        await generate(demo_server, 1, max_tokens)
    head = page.get_by_role("columnheader", name=re.compile("^Output"))
    outputs = page.locator("#requests tbody tr td:nth-child(4)")
    await expect(outputs.first).to_have_text("6")
    await head.get_by_role("button").press("Enter")
    await expect(head).to_have_attribute("aria-sort", "descending")
    shown = [int(text) for text in await outputs.all_text_contents()]
    assert shown == sorted(shown, reverse=True)
    await head.get_by_role("button").press("Enter")
    await expect(outputs.first).to_have_text("3")
