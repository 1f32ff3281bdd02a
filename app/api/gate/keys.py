"""API keys: how they are kept, looked up and reloaded, and what each may use."""

from __future__ import annotations

import hmac
import logging
import time
from pathlib import Path

from app.api.gate.key_list import EVERYBODY, BadKeys, Key, KeyList, digest_of, parse_file, parse_given, parse_secret
from app.api.gate.quota import Quota

SECONDS_BETWEEN_CHECKS = 2.0
"""How often a file of keys is checked for changes, at most: only when a request brings a key."""

SECONDS_AT_REST = 1.0
"""A file changed more recently than this may still be being written, and is left for the next check."""

log = logging.getLogger(__name__)


class KeyRing:
    """Keys that are given and keys from a file, which is read again when it changes. Raises BadKeys if it cannot be
    read at first.

    If the file cannot be read later, everything stays as it was: a mistake in it locks nobody out and lets nobody in.
    `quota` is what a key may use where neither its own entries nor those for everybody say otherwise.
    """

    def __init__(self, given: str = "", file: Path | None = None, quota: Quota | None = None) -> None:
        self._given = parse_given(given)
        self._file = file
        self._quota = quota or Quota()
        self._in_use = self._given
        self._version: object = None
        self._checked = time.monotonic()
        if file is not None:
            self._read(file)

    @classmethod
    def of_one(cls, name: str, secret: str) -> KeyRing:
        """A single key, in which no character has a special meaning. Raises ValueError if no client could send it."""
        ring = cls()
        ring._given = ring._in_use = KeyList([Key(name, parse_secret(secret))], {})
        return ring

    @property
    def is_needed(self) -> bool:
        """Whether a key is needed at all. With a file that holds none yet it is, and nobody gets in."""
        return bool(self._given.keys) or self._file is not None

    def find(self, secret: bytes) -> Key | None:
        """The key that the client sent as `secret`, if it is known. All keys are compared, each in constant time."""
        self._check_file()
        digest = digest_of(secret)
        matching = [key for key in self._in_use.keys if hmac.compare_digest(key.digest, digest)]
        return matching[0] if matching else None

    def quota_of(self, name: str) -> Quota:
        """What the keys of this name may use."""
        limits = self._in_use.limits
        return self._quota.but(limits.get(EVERYBODY, {}) | limits.get(name, {}))

    def reload(self) -> None:
        """Read the file now, whether or not it seems to have changed."""
        self._version = None
        self._try_to_read(seconds_at_rest=0)

    def _check_file(self) -> None:
        now = time.monotonic()
        if now - self._checked >= SECONDS_BETWEEN_CHECKS:
            self._checked = now
            self._try_to_read(SECONDS_AT_REST)

    def _try_to_read(self, seconds_at_rest: float) -> None:
        if self._file is None:
            return
        try:
            self._read(self._file, seconds_at_rest)
        except BadKeys as error:
            log.error("The keys and their limits stay as they were: %s", error)

    def _read(self, file: Path, seconds_at_rest: float = 0) -> None:
        try:
            status = file.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version or 0 <= time.time() - status.st_mtime < seconds_at_rest:
                return
            content = file.read_bytes()
        except OSError as error:
            raise BadKeys(f"{file} cannot be read: {error.strerror}") from error
        self._version = version
        in_file = parse_file(content, str(file))
        self._in_use = self._given.with_more(in_file)
        log.info("%d keys of %s are in use", len(in_file.keys), file)
