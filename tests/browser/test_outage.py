"""A server that goes down and comes back while the chat and the dashboard use it."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.browser.test_dashboard import generate, tile
from tests.browser.watched import Complaints
from tests.e2e.server import ONE_THREAD, started
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

OPTIONS = ("--kv-cache-memory", "8MiB", *ONE_THREAD)


async def letters(page: Page) -> str:
    """What of the first reply does not depend on how much of its Markdown has come."""
    return "".join(re.findall(r"\w", await page.locator(".reply-body").first.inner_text()))


async def test_a_restart_of_the_server_in_mid_chat_is_explained_and_the_answer_continued(
    open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expect_outage()
    with started("demo", *OPTIONS) as first:
        port = first.url.rpartition(":")[2]
        first.until_ready()
        chat, dashboard = await open_page(first.url), await open_page(f"{first.url}/dashboard")
        await expect(tile(dashboard, "Running")).to_have_text("0")
        await chat.locator("#settings").get_by_label("Ignore the end token").check()
        await send(chat, "Tell me a long story.")
        await expect(chat.locator(".reply-body").first).to_have_text(re.compile(r"\w{3,} \w{3,}"))
        first.signal(signal.SIGKILL)
        notice = chat.locator(".reply .notice")
        await expect(notice).to_contain_text("connection to the server broke off. The text so far is kept")
        await expect(notice).to_contain_text("does not respond")
        await expect(chat.get_by_role("status").filter(has_text="No answer")).to_be_visible()
        await expect(dashboard.locator("#banner")).to_contain_text("does not respond")
        kept = await letters(chat)
    with started("demo", *OPTIONS, "--port", port) as second:
        loading = re.compile(r"Loading the model: \d+ % \(\w")
        await expect(notice).to_have_text(re.compile(f"kept.*{loading.pattern}"))
        await expect(dashboard.locator("#banner")).to_contain_text("Loading the model")
        await expect(dashboard.locator("#banner progress")).to_be_visible()
        await ended(chat)
        await expect(notice).to_be_hidden()
        whole = await letters(chat)
        assert len(whole) > len(kept) > 5
        assert whole.startswith(kept)
        await chat.get_by_role("button", name="New conversation").click()
        await expect(chat.locator(".reply")).to_have_count(0)
        await send(chat, "Thank you.")
        await ended(chat)
        await expect(dashboard.locator("#banner")).to_be_hidden()
        await generate(second, 1)
        await expect(dashboard.locator("#requests tbody tr").first).to_contain_text("length")
    assert complaints.outages


async def test_a_silent_connection_is_given_up_and_the_answer_continued(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await page.clock.install()
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("Half an ans")
    await expect(page.locator(".reply-body")).to_have_text("Half an ans")
    await page.clock.fast_forward("01:00")
    await engine.until(lambda: len(engine.submissions) == 2)
    assert bytes(engine.submissions[1].prompt_token_ids).endswith(b"Half an ans")
    engine.write("wer", 1)
    engine.end(index=1)
    await ended(page)
    await expect(page.locator(".reply-body")).to_have_text("Half an answer")
