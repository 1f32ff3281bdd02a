"""Whose request it is, and where it stands among the requests of others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """The name of a request's key; "" on a server without keys, where all requests are treated alike.

    `min_priority` is the smallest priority that has an effect between keys. `shares_cache` says whether the requests of
    this key find the cached blocks of others, and others find theirs.
    """

    name: str = ""
    min_priority: int = 0
    shares_cache: bool = False

    def precedence(self, priority: int) -> int:
        """What `priority` counts for among the requests of all keys: never more than this key is allowed."""
        return min(0, max(priority, self.min_priority)) if self.name else priority

    def cache_salt(self, salt: str) -> str:
        """The salt under which a request's blocks are cached. A name has no colon, so no two salts can collide."""
        return f"{self.name}:{salt}" if self.name and not self.shares_cache else salt
