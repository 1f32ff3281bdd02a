"""Browser profiles, of whose pages every complaint is kept: console errors, exceptions, breaches of the policy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from playwright.async_api import BrowserContext, ConsoleMessage, WebError

LOADING_FAILED = re.compile(r"^Failed to load resource: ")
"""Chromium says this of every answer that is an error, and every server that does not answer."""

OUTAGE = re.compile(LOADING_FAILED.pattern + r"(net::ERR_|the server responded with a status of 503 )")


@dataclass
class Complaints:
    """What pages have complained of. `expect` names what a test provokes; the rest fails it."""

    seen: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    """What the browser itself, not a script, wrote of a server that is away or not ready; see `expect_outage`."""

    _is_outage_expected: bool = False

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", self._error)

    def expect(self, pattern: re.Pattern[str]) -> None:
        self.expected.append(pattern)

    def expect_outage(self) -> None:
        """The server will be away for some time. What a script writes to the console stays a complaint."""
        self._is_outage_expected = True

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.seen if not any(pattern.search(text) for pattern in self.expected)]

    def _console(self, message: ConsoleMessage) -> None:
        """Breaches of the Content-Security-Policy come this way too."""
        if message.type not in ("error", "warning"):
            return
        # A script's words come with what it gave to `console`; the browser's own lines come without.
        is_outage = not message.args and OUTAGE.search(message.text)
        (self.outages if is_outage and self._is_outage_expected else self.seen).append(message.text)

    def _error(self, event: WebError) -> None:
        error = event.error
        self.seen.append(f"{error.name}: {error.message}\n{error.stack}")
