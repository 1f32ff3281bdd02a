"""API keys: where they are written, how they are kept, and who a key belongs to."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

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


def parse_keys(text: str, where: str) -> list[Key]:
    """Keys as `name:key` or `name:sha256:digest in hexadecimal`, one on a line or between commas; `#` begins a comment.

    Raises BadKeys.
    """
    uncommented = "\n".join(line.split("#")[0] for line in text.splitlines())
    entries = [entry.strip() for entry in re.split(r"[\n,]", uncommented)]
    return [_parse_key(entry, f"{where}, entry {number}") for number, entry in enumerate(filter(None, entries), 1)]


def _parse_key(entry: str, where: str) -> Key:
    name, _, secret = (part.strip() for part in entry.partition(":"))
    if not name or not secret:
        raise BadKeys(f"{where}: write name:key, or name:sha256:digest")
    if not secret.startswith("sha256:"):
        return Key(name, digest_of(secret))
    if not re.fullmatch(r"[0-9a-fA-F]{64}", hexadecimal := secret.removeprefix("sha256:").strip()):
        raise BadKeys(f"{where}: a SHA-256 digest has 64 hexadecimal digits")
    return Key(name, bytes.fromhex(hexadecimal))


class KeyRing:
    """Given keys and those of a file, which is read again when it changes. Raises BadKeys if it cannot be read now.

    A file that cannot be read later leaves the keys as they were: a slip in it locks nobody out and lets nobody in.
    """

    def __init__(self, given: str = "", file: Path | None = None) -> None:
        self._given = parse_keys(given, "the given keys")
        self._file = file
        self._in_file: list[Key] = []
        self._version: object = None
        self._looked = time.monotonic()
        if file is not None:
            self._read(file)

    @property
    def is_needed(self) -> bool:
        """Whether keys are asked for at all: a file that holds none yet lets nobody in."""
        return bool(self._given) or self._file is not None

    def find(self, secret: str) -> Key | None:
        """The key that `secret` is. All are compared, each in constant time."""
        self._look_again()
        digest = digest_of(secret)
        matching = [key for key in (*self._given, *self._in_file) if hmac.compare_digest(key.digest, digest)]
        return matching[0] if matching else None

    def _look_again(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        try:
            self._read(self._file)
        except BadKeys as error:
            log.error("The keys stay as they were: %s", error)

    def _read(self, file: Path) -> None:
        try:
            status = file.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version:
                self._version = version
                self._in_file = parse_keys(file.read_text(), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeys(f"{file} cannot be read: {error}") from error
