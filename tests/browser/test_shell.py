"""What all pages have in common: the header, the policy, the themes."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.watched import LOADING_FAILED, Complaints

pytestmark = pytest.mark.asyncio(loop_scope="package")

DOCUMENTS = ("/", "/dashboard")


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_page_shows_that_the_server_is_ready(open_page: OpenPage, scripted_url: str, path: str) -> None:
    page = await open_page(scripted_url + path)
    await expect(page.get_by_role("status").filter(has_text="Ready")).to_be_visible()
    await expect(page.get_by_role("navigation", name="Views").locator("[aria-current=page]")).to_have_count(1)


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_the_theme_is_the_systems_until_one_is_chosen_which_stays(
    open_page: OpenPage, scripted_url: str, path: str
) -> None:
    page = await open_page(scripted_url + path, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(background)
    await page.get_by_role("button", name=re.compile("^Theme: system")).click()
    await expect(page.get_by_role("button", name=re.compile("^Theme: light"))).to_be_visible()
    light = await page.evaluate(background)
    await page.reload()
    assert await page.evaluate(background) == light != dark


async def test_a_string_never_becomes_markup_or_code_whatever_a_script_does(
    open_page: OpenPage, scripted_url: str, complaints: Complaints
) -> None:
    page = await open_page(scripted_url)
    complaints.expect(re.compile("Content Security Policy|Trusted(HTML|Script)"))
    refused = """(attempt) => {
        try { ({
            markup: () => { document.body.innerHTML = '<p>markup</p>'; },
            handler: () => document.body.setAttribute('onclick', 'window.executed = true'),
        })[attempt](); return false; }
        catch (error) { return error instanceof TypeError; }
    }"""
    assert await page.evaluate(refused, "markup")
    assert await page.evaluate(refused, "handler")
    assert complaints.seen, "the browser reports what it refuses, so the other tests would see a breach"


async def test_missing_files_are_complaints(open_page: OpenPage, scripted_url: str, complaints: Complaints) -> None:
    complaints.expect(LOADING_FAILED)
    page = await open_page(scripted_url)
    await page.evaluate("fetch('nowhere')")
    await expect(page.locator("body")).to_be_visible()
    assert complaints.seen
