"""A browser, servers for it to talk to, and pages that fail their test when they complain."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.watched import Complaints
from tests.e2e.server import ONE_THREAD, ServerProcess, serving
from tests.scripted_engine import ScriptedEngine, listening, make_app, small

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-quic", "--no-first-run", "--disable-gpu"]
MAX_MODEL_LEN = 2**21
PATIENCE_MS = 60_000
"""How long something may take to be seen, on a machine that does other things too."""

OpenPage = Callable[..., Awaitable[Page]]
"""`await open_page(url, width=1280, color_scheme="dark")`; more options are those of Playwright's contexts."""


Serve = Callable[..., Awaitable[str]]
"""`await scripted(access=…)` gives the address of a server; the options are those of `make_app`."""


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture(scope="package")
def demo_server() -> Iterator[ServerProcess]:
    """The embedded model, served as its users do. It is shared: leave it well and idle."""
    with serving("demo", "--kv-cache-memory", "64MiB", *ONE_THREAD) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="package")
async def engine() -> ScriptedEngine:
    """What stands behind `scripted_url`: give it a `script`, or write its streams in the test."""
    return ScriptedEngine(ready=small(max_model_len=MAX_MODEL_LEN, num_blocks=MAX_MODEL_LEN))


@pytest_asyncio.fixture(loop_scope="package")
async def contexts() -> AsyncIterator[list[BrowserContext]]:
    """The browser profiles that are open."""
    contexts: list[BrowserContext] = []
    yield contexts
    await close_all(contexts)


async def close_all(contexts: list[BrowserContext]) -> None:
    while contexts:
        await contexts.pop().close()


@pytest_asyncio.fixture(loop_scope="package")
async def scripted(engine: ScriptedEngine, contexts: list[BrowserContext]) -> AsyncIterator[Serve]:
    """Serves `engine`, and gives where. What a test leaves unfinished ends with it."""
    async with AsyncExitStack() as servers:

        async def serve(**options: Any) -> str:
            url, _ = await servers.enter_async_context(listening(make_app(engine, **options)))
            return url

        yield serve
        await close_all(contexts)  # before what they ask goes away
        await engine.stop(0)


@pytest_asyncio.fixture(loop_scope="package")
async def scripted_url(scripted: Serve) -> str:
    return await scripted()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the pages of this test complain of; it must all be expected."""
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected == []


@pytest.fixture
def open_page(browser: Browser, contexts: list[BrowserContext], complaints: Complaints) -> OpenPage:
    """Opens addresses, each in a browser profile of its own."""

    async def open_page(url: str, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        complaints.watch(context)
        page = await context.new_page()
        await page.goto(url)
        await page.locator("main:not([inert])").wait_for()
        return page

    return open_page
