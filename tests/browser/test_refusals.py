"""Requests that the server rejects, delays or does not finish: the reason is shown, and no text is lost."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from app.engine.health import Overloaded
from app.engine.stream import CutReason, KillsEngine
from app.messages import FinishReason
from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.browser.test_conversation import answer
from tests.browser.watched import LOADING_FAILED, Complaints
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]


async def set_field(page: Page, label: str, value: str) -> None:
    await page.locator("#settings").get_by_label(label, exact=True).fill(value)


async def test_a_full_queue_is_explained_and_the_request_repeated_when_the_server_said(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, complaints: Complaints
) -> None:
    complaints.expect(LOADING_FAILED)
    engine.refusals[0] = Overloaded("The queue is full.", retry_after=20)
    page = await open_page(scripted_url)
    await page.clock.install()
    await send(page, "one")
    notice = page.locator(".reply .notice")
    await expect(notice).to_have_text("The queue is full. Trying again in 20 s.")
    engine.refusals.clear()
    await page.clock.fast_forward(19_000)
    await expect(page.locator(".reply[data-state=recovering]")).to_have_count(1)
    assert not engine.submissions
    await page.clock.fast_forward(1_000)
    await answer(engine, 0, "first")
    await ended(page)
    await expect(notice).to_be_hidden()


async def test_waiting_for_a_full_queue_can_be_stopped(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, complaints: Complaints
) -> None:
    complaints.expect(LOADING_FAILED)
    engine.refusals[0] = Overloaded("The queue is full.", retry_after=3600)
    page = await open_page(scripted_url)
    await send(page, "one")
    await expect(page.locator(".reply .notice")).to_contain_text("The queue is full.")
    await page.keyboard.press("Escape")
    await expect(page.locator(".reply[data-state=stopped] .figures")).to_have_text("stopped by you")
    engine.refusals.clear()
    await page.get_by_role("button", name="Regenerate").click()
    assert await answer(engine, 0, "first") == "user:one|assistant:"
    await ended(page)


async def test_settings_that_are_refused_are_named_and_can_be_corrected(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, complaints: Complaints
) -> None:
    complaints.expect(LOADING_FAILED)
    page = await open_page(scripted_url)
    await set_field(page, "Min tokens", "5")
    await set_field(page, "Stop sequences", "END")
    await send(page, "one")
    notice = page.locator(".reply[data-state=failed] .notice")
    await expect(notice).to_contain_text("'min_tokens' is not supported together with 'stop'")
    await set_field(page, "Min tokens", "")
    await page.get_by_role("button", name="Regenerate").click()
    await answer(engine, 0, "first")
    await ended(page)
    assert engine.submissions[0].params.min_tokens == 0


async def test_a_prompt_that_is_refused_can_be_edited_and_does_not_block_others(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, complaints: Complaints
) -> None:
    complaints.expect(LOADING_FAILED)
    page = await open_page(scripted_url)
    await send(page, "refuse me")
    await expect(page.locator(".reply[data-state=failed] .notice")).to_contain_text("no")
    await expect(page.get_by_role("button", name="Continue")).to_be_hidden()
    await send(page, "one")
    assert await answer(engine, 0, "first") == "user:one|assistant:"
    await ended(page)
    await page.get_by_role("button", name="Edit and send again").first.click()
    await page.get_by_label("Prompt", exact=True).fill("do not refuse me")
    await page.keyboard.press("Enter")
    assert await answer(engine, 1, "second") == "user:do not refuse me|assistant:"
    await ended(page)


@pytest.mark.parametrize("reason", [FinishReason.ERROR, CutReason.REQUEST_TIMEOUT])
async def test_after_an_error_that_would_recur_the_text_so_far_can_be_continued(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, reason: FinishReason
) -> None:
    page = await open_page(scripted_url)
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("Half")
    engine.end(reason)
    reply = page.locator(".reply[data-state=interrupted]")
    await expect(reply.locator(".notice")).to_contain_text(re.compile("could not finish|took longer"))
    await expect(reply.locator(".reply-body")).to_have_text("Half")
    await page.reload()
    await expect(reply.locator(".reply-body")).to_have_text("Half")
    await page.get_by_role("button", name="Continue").click()
    assert await answer(engine, 1, " an answer") == "user:one|assistant:Half"
    await ended(page)
    await expect(page.locator(".reply-body")).to_have_text("Half an answer")


async def test_a_request_that_kills_the_engine_is_not_sent_again(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    page = await open_page(scripted_url)
    await send(page, "one")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("Half")
    engine.die(KillsEngine("This kills the engine."))
    await expect(page.locator(".reply[data-state=interrupted] .notice")).to_contain_text("This kills the engine.")
    assert len(engine.submissions) == 1


async def test_an_answer_continued_after_an_interruption_has_the_requested_length(
    open_page: OpenPage, scripted_url: str, engine: ScriptedEngine
) -> None:
    """What the page was sent in one piece counts as the tokens that it is."""
    page = await open_page(scripted_url)
    await set_field(page, "Max tokens", "30")
    await set_field(page, "Min tokens", "25")
    await send(page, "count")
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write(come := "12345678901234567890")
    await expect(page.locator(".reply-body")).to_have_text(come)
    engine.die()
    await engine.until(lambda: len(engine.submissions) == 2)
    rest = engine.submissions[1]
    assert bytes(rest.prompt_token_ids) == f"user:count|assistant:{come}".encode()
    assert (rest.params.max_tokens, rest.params.min_tokens) == (10, 5)
    await answer(engine, 1, "1234567890", FinishReason.LENGTH)
    await ended(page)
    await expect(page.locator(".reply-body")).to_have_text(come + "1234567890")
    await expect(page.locator("#turns .figures")).to_contain_text("30 output")
