"""Keys as they are written: each opens exactly as it stands, or is refused with its place and without being shown."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from string import printable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.gate import keys as keys_module
from app.api.gate.key_list import BadKeys, parse_file, parse_given
from app.api.gate.keys import KeyRing
from app.config import load_config
from app.serve import read_access_rules

ANY_KEY = st.text(st.sampled_from(printable + "ü€\u00a0\u2028\x85"), min_size=1, max_size=8)


def names_of(ring: KeyRing, *secrets: str) -> list[str | None]:
    found = [ring.find(secret.encode()) for secret in secrets]
    return [key and key.name for key in found]


@given(ANY_KEY)
def test_a_given_key_opens_exactly_or_is_refused(key: str) -> None:
    try:
        keys = parse_given(f"alice:{key}").keys
    except BadKeys:
        return
    assert [key.digest for key in keys] == [hashlib.sha256(key.strip(" \t\r\n,").encode()).digest()]


@given(ANY_KEY)
def test_a_key_in_a_file_opens_exactly_or_is_refused(key: str) -> None:
    try:
        keys = parse_file(f"alice:{key}\nbob:B\n".encode(), "keys").keys
    except BadKeys:
        return
    expected = [key.strip(" \t\r\n"), "B"]
    assert [key.digest for key in keys] == [hashlib.sha256(each.encode()).digest() for each in expected]


def test_a_number_sign_is_a_character_of_a_key_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n  # and theirs\ncarol:in#file\n")
    monkeypatch.setenv("MILLRACE_API_KEYS", "alice:s3cret#rest,bob:KEYBOB")
    monkeypatch.setenv("MILLRACE_ADMIN_KEY", "a#dmin,x:y")
    monkeypatch.setenv("MILLRACE_METRICS_KEY", "#metrics")
    access = read_access_rules(load_config({"api_keys_file": file}))
    assert names_of(access.keys, "s3cret#rest", "KEYBOB", "in#file") == ["alice", "bob", "carol"]
    assert names_of(access.keys, "s3cret", "in", "rest", "") == [None] * 4
    assert names_of(access.admin_keys, "a#dmin,x:y", "a", "a#dmin", "y") == ["admin", None, None, None]
    assert names_of(access.metrics_keys, "#metrics", "") == ["metrics", None]


def test_a_key_may_be_given_as_its_digest_which_is_no_key_itself() -> None:
    digest = hashlib.sha256("schlüssel".encode()).hexdigest()
    ring = KeyRing(f"alice:sha256:{digest}, bob:with:colons")
    assert names_of(ring, "schlüssel", "with:colons", digest, f"sha256:{digest}") == ["alice", "bob", None, None]


@pytest.mark.parametrize(
    "text",
    [
        *("sk-secret", ":sk-secret", "alice:", "alice:sha256:abc", "a:b,sk-secret"),
        *("alice:schlüssel-secret", "alice:sk-secret # until May", "#alice:sk-secret", "a:sk-secret,b:sk-secret"),
        *("al\udcffice:sk-secret", "al\0ice:sk-secret"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(BadKeys) as caught:
        parse_given(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"alice:A\n\xc3\xa4:B\nbob:schl\xc3\xbcssel\n", "keys, line 3: a key is made of printable ASCII"),
        (b"alice:A\n# b\n\nbob:secret,carol:C\n", "keys, line 4: there is one key on a line"),
        (b"alice:A\nbob:\xfc\n", "keys is not UTF-8"),
        (b"alice:A\nbob:B # new\n", "keys, line 2: limits are"),
        (b"alice:A\nbob:A\n", "'alice' and 'bob' have the same key"),
        (b"alice:A\nbob:KEY-b", "keys does not end with a newline"),
        (b"", "keys does not end with a newline"),
    ],
)
def test_a_slip_in_a_file_is_told_by_its_line(content: bytes, told: str) -> None:
    with pytest.raises(BadKeys) as caught:
        parse_file(content, "keys")
    assert str(caught.value).startswith(told)
    assert "schl" not in str(caught.value)


def test_a_file_may_have_the_marks_of_another_system() -> None:
    keys = parse_file(b"\xef\xbb\xbfalice: A\r\n# ours\r\nbob:B\t\r\n", "keys").keys
    assert [(key.name, key.digest) for key in keys] == [
        ("alice", hashlib.sha256(b"A").digest()),
        ("bob", hashlib.sha256(b"B").digest()),
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"api_keys": ""}, "api_keys is set but has no key in it"),
        ({"api_keys": " , "}, "api_keys is set but has no key in it"),
        ({"api_keys": "* requests_per_minute=5"}, "api_keys is set but has no key in it"),
        ({"admin_key": ""}, "admin_key: a key is made of printable ASCII"),
        ({"admin_key": "two words"}, "admin_key: a key is made of printable ASCII"),
        ({"metrics_key": "schlüssel"}, "metrics_key: a key is made of printable ASCII"),
        ({"metrics_key": "sha256:12"}, "metrics_key: a SHA-256 digest has 64 hexadecimal digits"),
    ],
)
def test_a_setting_that_would_open_to_nobody_or_to_everybody_is_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(BadKeys) as caught:
        read_access_rules(load_config(settings))
    assert str(caught.value).startswith(told)


def test_a_file_that_is_caught_at_any_byte_of_being_written_changes_nothing_within_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_module, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(keys_module, "SECONDS_AT_REST", 0.0)
    caplog.set_level(logging.INFO)
    file, new = tmp_path / "keys", b"alice:KEY-alice-new\n"
    file.write_bytes(b"alice:KEY-old\n")
    ring = KeyRing(file=file)
    for length in range(len(new)):
        file.write_bytes(new[:length])
        caplog.clear()
        assert names_of(ring, "KEY-old", new[6:length].decode() or "?") == ["alice", None]
        assert "stay as they were" in caplog.text
        assert "KEY" not in caplog.text
    file.write_bytes(new)
    assert names_of(ring, "KEY-old", "KEY-alice-new") == [None, "alice"]


def test_a_file_is_left_alone_while_it_may_still_be_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(keys_module, "SECONDS_AT_REST", 1000.0)
    file = tmp_path / "keys"
    file.write_text("alice:A\nbob:B\n")
    ring = KeyRing(file=file)
    file.write_text("alice:A\n")
    assert names_of(ring, "B") == ["bob"], "the second line may be on its way"
    hours_ago = file.stat().st_mtime - 10_000
    os.utime(file, (hours_ago, hours_ago))
    assert names_of(ring, "B") == [None]
    file.write_text("alice:A\ncarol:C\n")
    ring.reload()
    assert names_of(ring, "C") == ["carol"], "who asks for it says that the file is whole"
