"""A server that requires a key: the page asks for it, stores it in the tab, and asks again if it is wrong."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import expect

from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from tests.browser.conftest import OpenPage, Serve
from tests.browser.test_chat import ended, send
from tests.browser.watched import LOADING_FAILED, Complaints
from tests.scripted_engine import EOS, ScriptedEngine, ids

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def locked_url(engine: ScriptedEngine, scripted: Serve) -> str:
    engine.script = [*ids("Come in."), EOS]
    return await scripted(access=AccessRules(KeyRing("alice:sk-a")))


async def test_the_key_is_asked_for_and_kept_in_the_tab(
    open_page: OpenPage, locked_url: str, engine: ScriptedEngine, complaints: Complaints
) -> None:
    complaints.expect(LOADING_FAILED)
    page = await open_page(locked_url)
    dialog = page.get_by_role("dialog", name="This server requires a key")
    await expect(dialog).to_contain_text("stored in this tab")
    await dialog.get_by_label("API key").fill("sk-wrong")
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("did not accept the last one")
    await dialog.get_by_label("API key").fill("sk-a")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await send(page, "Hello?")
    await ended(page)
    assert engine.submissions[0].owner == "alice"
    await page.reload()
    await expect(page.locator(".reply-body")).to_have_text("Come in.")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("#model")).to_contain_text("tiny")
    other = await page.context.new_page()
    await other.goto(locked_url)
    await expect(other.get_by_role("dialog", name="This server requires a key")).to_be_visible()


@pytest.mark.parametrize(
    ("admin_keys", "key", "place", "told"),
    [(KeyRing("operator:sk-o"), "sk-o", "#engine", "tiny"), (KeyRing(), "sk-a", "#banner", "MILLRACE_ADMIN_KEY")],
)
async def test_the_dashboard_requires_the_admin_key_and_says_so_if_there_is_none(
    open_page: OpenPage, scripted: Serve, complaints: Complaints, admin_keys: KeyRing, key: str, place: str, told: str
) -> None:
    complaints.expect(LOADING_FAILED)
    url = await scripted(access=AccessRules(KeyRing("alice:sk-a"), admin_keys=admin_keys))
    page = await open_page(f"{url}/dashboard")
    await page.get_by_role("dialog").get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.locator(place)).to_contain_text(told)


async def test_without_a_key_the_refusal_is_shown(open_page: OpenPage, locked_url: str, complaints: Complaints) -> None:
    complaints.expect(LOADING_FAILED)
    page = await open_page(locked_url)
    dialog = page.get_by_role("dialog", name="This server requires a key")
    await dialog.get_by_role("button", name="Cancel").click()
    await send(page, "Hello?")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".reply[data-state=failed] .notice")).to_contain_text("No API key was given")
