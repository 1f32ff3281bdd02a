"""Keys as written in a setting or in a file: taken literally, or refused."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from app.api.gate.quota import LIMITS, parse_limit

EVERYBODY = "*"
COMMENT = "#"
BLANKS = " \t\r"
DIGEST = "sha256:"


class BadKeys(ValueError):
    """The keys cannot be read. The message says where and why, and never shows a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, kept only as its SHA-256 digest. A name may have several, while one key replaces another."""

    name: str
    digest: bytes


def digest_of(secret: bytes) -> bytes:
    """32 bytes, however long the secret is: comparing digests reveals nothing about how much of a guess was right."""
    return hashlib.sha256(secret).digest()


@dataclass(frozen=True, slots=True)
class KeyList:
    """Keys, and limits by name. Those of `EVERYBODY` apply where a name has none of its own."""

    keys: list[Key]
    limits: dict[str, dict[str, int | None]]

    def with_more(self, more: KeyList) -> KeyList:
        """Both lists together; where they disagree on a limit, `more` wins. Raises BadKeys if one key has two names."""
        names = self.limits | more.limits
        limits = {name: self.limits.get(name, {}) | more.limits.get(name, {}) for name in names}
        keys = self.keys + more.keys
        owners: dict[bytes, str] = {}
        for key in keys:
            if (owner := owners.setdefault(key.digest, key.name)) != key.name:
                raise BadKeys(f"'{owner}' and '{key.name}' have the same key; each name needs its own")
        return KeyList(keys, limits)


NO_KEYS = KeyList([], {})


def parse_given(text: str) -> KeyList:
    """Read the entries of a setting, separated by commas or newlines: `name:key`, or `name:sha256:digest` with a
    hexadecimal digest.

    Limits may follow a key, as in `name:key tokens_per_minute=1000`, and those for all keys follow `*`. There are no
    comments here: `#` is a character like any other. Raises BadKeys.
    """
    entries = [entry.strip(BLANKS) for entry in re.split(r"[\n,]", text)]
    return _parse((f"the given keys, entry {number}", entry) for number, entry in enumerate(filter(None, entries), 1))


def parse_file(content: bytes, where: str) -> KeyList:
    """Read a file with one entry a line, written as for `parse_given`. Raises BadKeys.

    A line that begins with `#` is a comment. The last line must end with a newline: without one, the file may have been
    read half-written, and half a key must not open anything.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadKeys(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from error
    *lines, rest = text.split("\n")
    if rest or not lines:
        raise BadKeys(f"{where} does not end with a newline, as if it were only half-written; end its last line")
    entries = [(f"{where}, line {number}", line.strip(BLANKS)) for number, line in enumerate(lines, 1)]
    return _parse((place, entry) for place, entry in entries if entry and not entry.startswith(COMMENT))


def parse_secret(secret: str) -> bytes:
    """The digest of a key, which may itself be written as `sha256:digest`. Raises ValueError that never shows it."""
    if secret.startswith(DIGEST):
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digits := secret.removeprefix(DIGEST)):
            raise ValueError("a SHA-256 digest has 64 hexadecimal digits")
        return bytes.fromhex(digits)
    if not re.fullmatch(r"[!-~]+", secret):
        raise ValueError("a key is made of printable ASCII without spaces: clients send other characters differently")
    return digest_of(secret.encode())


def _parse(entries: Iterable[tuple[str, str]]) -> KeyList:
    """Read entries, each given with the place that an error names."""
    keys: list[Key] = []
    limits: dict[str, dict[str, int | None]] = defaultdict(dict)
    for place, entry in entries:
        try:
            key, found = _parse_entry(entry)
            _add_limits(limits, key.name if key else EVERYBODY, found)
        except ValueError as error:
            raise BadKeys(f"{place}: {error}") from error
        keys += [key] if key else []
    return NO_KEYS.with_more(KeyList(keys, dict(limits)))


def _parse_entry(entry: str) -> tuple[Key | None, list[str]]:
    """A key, or None for everybody, and the limits that follow it."""
    first, *limits = re.split(r"[ \t]+", entry)
    if first == EVERYBODY:
        return None, limits
    name, _, rest = entry.partition(":")
    secret, *limits = re.split(r"[ \t]+", rest.strip(BLANKS))
    if (name := name.strip(BLANKS)) in ("", EVERYBODY) or not secret or secret.partition("=")[0] in LIMITS:
        raise ValueError("write name:key, or name:sha256:digest, and limits behind it")
    if not name.isprintable():
        raise ValueError("a name has no characters that cannot be printed")
    if name.startswith(COMMENT):
        raise ValueError(f"a name cannot begin with '{COMMENT}'; comments stand in the file of keys only")
    if "," in secret:
        raise ValueError("there is one key on a line, and none has a comma; give such a key as its SHA-256 digest")
    return Key(name, parse_secret(secret)), limits


def _add_limits(limits: dict[str, dict[str, int | None]], name: str, words: Iterable[str]) -> None:
    """Add limits to those of a name, whose entries may repeat a limit but not contradict each other."""
    for limit, amount in map(parse_limit, words):
        if limits[name].setdefault(limit, amount) != amount:
            raise ValueError(f"another entry of {name} has another {limit}")
