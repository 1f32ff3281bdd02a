"""A long reply keeps the page responsive, and the longest time it did not is printed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_chat import ended, send
from tests.scripted_engine import ScriptedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

PARAGRAPH = "Some *words* of a **long** answer with `code` and a list:\n\n- one\n- two\n\n```py\nx = [1, 2, 3]\n```\n\n"


@dataclass(frozen=True)
class LongestTask:
    """Of the page's main thread, in milliseconds: by the clock, how much of that was work, and the most work in any."""

    clock: float
    work: float
    most_work: float


def longest_task(trace: bytes) -> LongestTask:
    """Read from what Chromium traced: on a busy machine a task takes longer than the work in it."""
    events = json.loads(trace)["traceEvents"]
    threads = [event for event in events if event["name"] == "thread_name"]
    mains = {(event["pid"], event["tid"]) for event in threads if event["args"]["name"] == "CrRendererMain"}
    # "X" is an event that is whole: the last may be open when tracing ends. Some come without the processor's time.
    whole = [event for event in events if event["name"] == "RunTask" and event["ph"] == "X"]
    tasks = [event for event in whole if (event["pid"], event["tid"]) in mains]
    # The two clocks are not read at the same moment: the work in a task may seem longer than the task.
    timed = [(task["dur"] / 1e3, min(task["dur"], task.get("tdur", 0)) / 1e3) for task in tasks]
    return LongestTask(*max(timed), most_work=max(work for _, work in timed))


@pytest.mark.parametrize("seen_as", ["Markdown", "tokens"])
async def test_a_reply_of_4000_tokens_leaves_the_page_responsive(
    browser: Browser, open_page: OpenPage, scripted_url: str, engine: ScriptedEngine, seen_as: str
) -> None:
    page = await open_page(scripted_url)
    if seen_as == "tokens":
        await page.get_by_role("button", name="Tokens").click()
    await expect(page.get_by_role("status").filter(has_text="Ready")).to_be_visible()
    await browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    await send(page, "go")
    await engine.until(lambda: len(engine.submissions) == 1)
    stream = engine.submissions[0].stream
    for char in (PARAGRAPH * 50)[:4000]:
        engine.write(char)
        while stream.num_taken < stream.num_output_tokens:
            await asyncio.sleep(0)
    engine.end()
    await ended(page)
    longest = longest_task(await browser.stop_tracing())
    print(
        f"longest task, 4,000 tokens as {seen_as}: {longest.clock:.0f} ms, {longest.work:.0f} ms of them work; "
        f"most work in any task: {longest.most_work:.0f} ms"
    )
    assert await page.locator(".markdown > .code, .token").count() > 20
