"""Offers to change to another protocol, which nobody is obliged to take (RFC 9110, section 7.8)."""

from __future__ import annotations

import re

UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
IGNORED = b"ignored"
"""As long as the name that it stands in for, so that no length changes."""


def without_upgrade(part: bytes) -> bytes:
    """The beginning of a request, or more of its head, with an offer to upgrade ignored.

    Java's HttpClient makes one with every request, and the parser would take the body for the other protocol. A name
    that comes in two parts is not found here.
    """
    head, end, rest = part.partition(b"\r\n\r\n")
    return UPGRADE.sub(IGNORED, head) + end + rest
