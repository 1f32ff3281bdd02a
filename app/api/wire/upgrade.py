"""Offers to switch to another protocol, which a server is free to ignore (RFC 9110, section 7.8)."""

from __future__ import annotations

import re

UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
IGNORED = b"ignored"
"""As long as the name that it replaces, so that no length changes."""


def without_upgrade(part: bytes) -> bytes:
    """The beginning of a request, or a later part of its head, with any offer to upgrade made meaningless.

    Java's HttpClient sends one with every request, and the parser would take the body for the other protocol. A name
    that is split over two parts is not found here.
    """
    head, end, rest = part.partition(b"\r\n\r\n")
    return UPGRADE.sub(IGNORED, head) + end + rest
