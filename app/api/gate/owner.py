"""Whose request it is, and how it stands beside the requests of others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """The name of a request's key; "" on a server without keys, where all requests are alike.

    `min_priority` is the smallest priority that counts against other keys. `shares_cache` says whether this key's
    requests find the cached blocks of others, and others find theirs.
    """

    name: str = ""
    min_priority: int = 0
    shares_cache: bool = False

    def precedence(self, priority: int) -> int:
        """What `priority` counts among the requests of all keys: nothing, but for what this key is allowed."""
        return min(0, max(priority, self.min_priority)) if self.name else priority

    def cache_salt(self, salt: str) -> str:
        """The salt of a request under which its blocks are cached. A name has no colon, so that no two can meet."""
        return f"{self.name}:{salt}" if self.name and not self.shares_cache else salt
