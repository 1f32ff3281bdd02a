"""The documents and their assets over HTTP: guarded, cached, and nothing but what belongs to them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from app.api.web import WEB
from tests.scripted_engine import ScriptedEngine, make_app, started

DOCUMENTS = ("/", "/dashboard")
MAX_LINES = 250


class References(HTMLParser):
    """What a document loads or links to, and what it holds inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.attributes |= given.keys()
        if address := given.get("src") or (given.get("href") if tag == "link" else None):
            self.loaded.append(address)


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_document_is_guarded_and_all_that_it_loads_is_there(path: str) -> None:
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.get(path)
        references = References(answer.text)
        assert answer.headers["content-type"].startswith("text/html")
        assert references.loaded
        for address in references.loaded:
            asset = await client.get(f"/{address}")
            assert asset.status_code == 200, address
            for response in (answer, asset):
                assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert not {name for name in references.attributes if name == "style" or name.startswith("on")}


async def test_a_browser_that_has_a_file_is_told_that_it_is_still_the_one() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        first = await client.get("/assets/theme.css")
        again = await client.get("/assets/theme.css", headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        assert first.headers["cache-control"] == "no-cache"
        head = await client.head("/")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/nothing.js", "/assets/%2e%2e/chat.html", "/assets/..%2f..%2fcli.py"]
)
async def test_nothing_else_is_served(path: str) -> None:
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_route")


def test_every_file_is_short_and_loads_nothing_from_elsewhere() -> None:
    files = [path for path in WEB.rglob("*") if path.suffix in {".html", ".css", ".js"}]
    assert files
    for path in files:
        text = path.read_text()
        assert text.count("\n") <= MAX_LINES, path
        assert "innerHTML" not in text, path
        assert "https://" not in text, path
