"""API keys: how they are kept, looked up and replaced, and what each may use."""

from __future__ import annotations

import hmac
import logging
import time
from pathlib import Path

from app.api.gate.key_list import EVERYBODY, BadKeys, Key, KeyList, digest_of, parse_file, parse_given, parse_secret
from app.api.gate.quota import Quota

SECONDS_BETWEEN_LOOKS = 2.0
"""A file of keys is looked at this often, when somebody comes with a key."""

SECONDS_AT_REST = 1.0
"""A file that was changed less than this ago may still be being written, and is left for the next look."""

log = logging.getLogger(__name__)


class KeyRing:
    """Given keys and those of a file, which is read again when it changes. Raises BadKeys if it cannot be read now.

    A file that cannot be read later leaves all as it was: a slip in it locks nobody out and lets nobody in.
    `quota` is what a key may use where neither its entries nor those for everybody say anything else.
    """

    def __init__(self, given: str = "", file: Path | None = None, quota: Quota | None = None) -> None:
        self._given = parse_given(given)
        self._file = file
        self._quota = quota or Quota()
        self._in_use = self._given
        self._version: object = None
        self._looked = time.monotonic()
        if file is not None:
            self._read(file)

    @classmethod
    def of_one(cls, name: str, secret: str) -> KeyRing:
        """A single key, of which no character has a meaning. Raises ValueError if no client could bring it."""
        ring = cls()
        ring._given = ring._in_use = KeyList([Key(name, parse_secret(secret))], {})
        return ring

    @property
    def is_needed(self) -> bool:
        """Whether keys are asked for at all: a file that holds none yet lets nobody in."""
        return bool(self._given.keys) or self._file is not None

    def find(self, secret: bytes) -> Key | None:
        """The key that `secret` is, as the client sent it. All are compared, each in constant time."""
        self._look_again()
        digest = digest_of(secret)
        matching = [key for key in self._in_use.keys if hmac.compare_digest(key.digest, digest)]
        return matching[0] if matching else None

    def quota_of(self, name: str) -> Quota:
        """What whoever has this name may use."""
        limits = self._in_use.limits
        return self._quota.but(limits.get(EVERYBODY, {}) | limits.get(name, {}))

    def reload(self) -> None:
        """Read the file now, whether it seems to have changed or not."""
        self._version = None
        self._try_to_read(seconds_at_rest=0)

    def _look_again(self) -> None:
        now = time.monotonic()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
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
            raise BadKeys(f"{file} cannot be read: {error}") from error
        self._version = version
        in_file = parse_file(content, str(file))
        self._in_use = self._given.with_more(in_file)
        log.info("%d keys of %s are in use", len(in_file.keys), file)
