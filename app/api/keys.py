"""API keys: where they are written, how they are kept, and who a key belongs to."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from app.api.quota import LIMITS, Quota, parse_limit

EVERYBODY = "*"

SECONDS_BETWEEN_LOOKS = 2.0
"""A file of keys is looked at this often, when somebody comes with a key."""

log = logging.getLogger(__name__)


class BadKeys(ValueError):
    """The keys cannot be read; the message says where and why, and never shows a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key by its SHA-256 digest; the key itself is not kept. A name may have several, while one replaces another."""

    name: str
    digest: bytes


def digest_of(secret: str) -> bytes:
    """32 bytes, however long the secret is: comparing digests tells nothing of how much of a guess was right."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class KeyList:
    """Keys, and limits by the name that they hold for; those of `EVERYBODY` hold where a name says nothing else."""

    keys: list[Key]
    limits: dict[str, dict[str, int | None]]

    def with_more(self, more: KeyList) -> KeyList:
        """Both; where they set the same limit differently, `more` wins."""
        names = self.limits | more.limits
        limits = {name: self.limits.get(name, {}) | more.limits.get(name, {}) for name in names}
        return KeyList(self.keys + more.keys, limits)


def parse_keys(text: str, where: str) -> KeyList:
    """Keys as `name:key` or `name:sha256:digest in hexadecimal`, one on a line or between commas; `#` begins a comment.

    Limits may follow a key, as in `name:key tokens_per_minute=1000`, and those for all keys follow `*`. Raises BadKeys.
    """
    uncommented = "\n".join(line.split("#")[0] for line in text.splitlines())
    entries = [entry.strip() for entry in re.split(r"[\n,]", uncommented)]
    keys: list[Key] = []
    limits: dict[str, dict[str, int | None]] = defaultdict(dict)
    for number, entry in enumerate(filter(None, entries), 1):
        try:
            key, found = _parse_entry(entry)
            _add_limits(limits, key.name if key else EVERYBODY, found)
        except ValueError as error:
            raise BadKeys(f"{where}, entry {number}: {error}") from error
        keys += [key] if key else []
    return KeyList(keys, dict(limits))


def _parse_entry(entry: str) -> tuple[Key | None, list[str]]:
    """A key, or None for everybody, and the limits behind it."""
    if entry.split()[0] == EVERYBODY:
        return None, entry.split()[1:]
    found = re.fullmatch(r"([^:]*):\s*(sha256:)?\s*(\S+)((?:\s+\S+)*)", entry)
    if found is None or (name := found[1].strip()) in ("", EVERYBODY) or found[3].partition("=")[0] in LIMITS:
        raise ValueError("write name:key, or name:sha256:digest, and limits behind it")
    if not found[2]:
        return Key(name, digest_of(found[3])), found[4].split()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", found[3]):
        raise ValueError("a SHA-256 digest has 64 hexadecimal digits")
    return Key(name, bytes.fromhex(found[3])), found[4].split()


def _add_limits(limits: dict[str, dict[str, int | None]], name: str, words: Iterable[str]) -> None:
    """A name may have several entries, and each limit may stand in any of them, but not with different values."""
    for limit, amount in map(parse_limit, words):
        if limits[name].setdefault(limit, amount) != amount:
            raise ValueError(f"another entry of {name} has another {limit}")


class KeyRing:
    """Given keys and those of a file, which is read again when it changes. Raises BadKeys if it cannot be read now.

    A file that cannot be read later leaves all as it was: a slip in it locks nobody out and lets nobody in.
    `quota` is what a key may use where neither its entries nor those for everybody say anything else.
    """

    def __init__(self, given: str = "", file: Path | None = None, quota: Quota | None = None) -> None:
        self._given = parse_keys(given, "the given keys")
        self._file = file
        self._quota = quota or Quota()
        self._in_use = self._given
        self._version: object = None
        self._looked = time.monotonic()
        if file is not None:
            self._read(file)

    @property
    def is_needed(self) -> bool:
        """Whether keys are asked for at all: a file that holds none yet lets nobody in."""
        return bool(self._given.keys) or self._file is not None

    def find(self, secret: str) -> Key | None:
        """The key that `secret` is. All are compared, each in constant time."""
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
        self._looked = -inf
        self._look_again()

    def _look_again(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        try:
            self._read(self._file)
        except BadKeys as error:
            log.error("The keys and their limits stay as they were: %s", error)

    def _read(self, file: Path) -> None:
        try:
            status = file.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version:
                self._version = version
                in_file = parse_keys(file.read_text(), str(file))
                self._in_use = self._given.with_more(in_file)
                log.info("%d keys of %s are in use", len(in_file.keys), file)
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeys(f"{file} cannot be read: {error}") from error
