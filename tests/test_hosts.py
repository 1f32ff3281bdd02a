"""Which hosts a request may name, so that no page of another site reaches the server by DNS rebinding."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.gate.hosts import LOCAL_HOST
from app.api.run import served_hosts
from app.config import ConfigError, load_config
from app.serve import read_access_rules
from tests.raw_client import connected
from tests.scripted_engine import ScriptedEngine, listening, make_app


async def answers(*hosts: bytes) -> list[tuple[int, Any]]:
    """What a server that may be called api.example, too, says to requests with these header lines."""
    app = make_app(ScriptedEngine(), hosts=(LOCAL_HOST, "API.example"))
    found = []
    async with listening(app) as (url, _):
        for host in hosts:
            async with connected(url) as client:
                await client.send(b"GET /v1/models HTTP/1.1\r\n" + host + b"\r\n")
                status, _, body = await client.answer()
                found.append((status, body))
    return found


async def test_hosts_that_are_served_may_be_written_with_any_port() -> None:
    hosts = [
        b"localhost",
        b"LocalHost:80",
        b"localhost.:80",
        b"127.0.0.1:1",
        b"[::1]:9",
        b"10.0.0.7",
        b"api.example:443",
    ]
    assert [status for status, _ in await answers(*(b"Host: %b\r\n" % host for host in hosts))] == [200] * len(hosts)


async def test_who_sends_no_host_is_no_browser() -> None:
    assert [status for status, _ in await answers(b"")] == [200]


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: evil.example\r\n",
        b"Host: localhost.evil.example\r\n",
        b"Host: localhost@evil.example:8000\r\n",
        b"Host: evil.example#localhost\r\n",
        b"Host: 127.0.0.1.evil.example\r\n",
        b"Host: [localhost]\r\n",
        b"Host:\r\n",
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"Host: " + b"e" * 1000 + b"\r\n",
    ],
)
async def test_other_hosts_are_refused_with_the_setting_that_would_list_them(lines: bytes) -> None:
    [(status, body)] = await answers(lines)
    assert (status, body["error"]["code"]) == (403, "host_not_allowed")
    assert "MILLRACE_ALLOWED_HOSTS" in body["error"]["message"]
    assert len(body["error"]["message"]) < 400


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"host": "127.0.0.1"}, (LOCAL_HOST,)),
        ({"host": "127.0.0.2"}, (LOCAL_HOST,)),
        ({"host": "127.1"}, (LOCAL_HOST,)),
        ({"host": "::1"}, (LOCAL_HOST,)),
        ({"host": "localhost"}, (LOCAL_HOST,)),
        ({"host": "127.0.0.1", "api_keys": "alice:A"}, ()),
        ({"host": "127.0.0.1", "admin_key": "A"}, (LOCAL_HOST,)),
        ({"host": "0.0.0.0"}, ()),
        ({"host": "127.0.0.1", "allowed_hosts": "a.example, b.example"}, (LOCAL_HOST, "a.example", "b.example")),
        ({"host": "0.0.0.0", "allowed_hosts": "a.example"}, (LOCAL_HOST, "a.example")),
        ({"host": "127.0.0.1", "allowed_hosts": "*"}, ()),
    ],
)
def test_hosts_are_checked_where_the_server_is_open_and_local_and_where_some_are_given(
    settings: dict[str, str], expected: tuple[str, ...]
) -> None:
    config = load_config(settings)
    assert served_hosts(config, read_access_rules(config)) == expected


@pytest.mark.parametrize("hosts", ["https://a.example", "a.example:8000", "a.example/", "fd00::7", "a b"])
def test_what_is_no_host_is_a_fault_of_the_configuration(hosts: str) -> None:
    with pytest.raises(ConfigError, match="without scheme and port"):
        load_config({"allowed_hosts": hosts})
