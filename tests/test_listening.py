"""The port is taken before anything is loaded, or it is said why it cannot be."""

from __future__ import annotations

import errno
import os
import re
import socket

import pytest

from app.api.wire import sockets as listening
from app.api.wire.sockets import PortUnavailable, listen, url_of


def reason(host: str, port: int) -> str:
    with pytest.raises(PortUnavailable) as refused:
        listen(host, port, 8)
    return str(refused.value)


def close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def test_a_port_of_its_own_choice_takes_connections_at_once() -> None:
    sockets = listen("127.0.0.1", 0, 8)
    [listener] = sockets
    socket.create_connection(listener.getsockname()).close()
    assert url_of(listener, is_secure=False) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert url_of(listener, is_secure=True).startswith("https://")
    close(sockets)


def test_a_port_that_is_in_use_is_told_with_who_uses_it_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = rf"port {port} of 127.0.0.1 is in use by process {os.getpid()} \(.*\); stop that process, or .*--port 0"
        assert re.match(words, reason("127.0.0.1", port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "999.999.999.999", "a" * 300])
def test_a_host_that_does_not_exist_is_named(host: str) -> None:
    assert f"--host {host!r} is not an address of this machine" in reason(host, 0)


def test_an_address_of_another_machine_is_named() -> None:
    assert "--host 192.0.2.1 is not an address of this machine; 127.0.0.1 is" in reason("192.0.2.1", 0)


class Sockets(socket.socket):
    """Sockets of a system that refuses to bind some addresses."""

    refused: dict[str, int]

    def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
        if number := self.refused.get(address[0]):
            raise OSError(number, os.strerror(number))
        super().bind(address)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The addresses that cannot be bound, each with its error; `localhost` is 127.0.0.1 and 127.0.0.2."""
    refused: dict[str, int] = {}
    monkeypatch.setattr(Sockets, "refused", refused, raising=False)
    monkeypatch.setattr(listening.socket, "socket", Sockets)
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(listening.socket, "getaddrinfo", lambda *_args, **_options: both)
    return refused


def test_an_address_that_this_machine_lacks_is_left_out_if_another_one_does(refusing: dict[str, int]) -> None:
    refusing["127.0.0.1"] = errno.EADDRNOTAVAIL
    sockets = listen("localhost", 0, 8)
    assert [each.getsockname()[0] for each in sockets] == ["127.0.0.2"]
    close(sockets)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "this user may not listen on port"), (errno.ENOBUFS, "No buffer space")],
)
def test_an_address_that_is_refused_otherwise_is_an_error_even_if_another_one_does(
    number: int, words: str, refusing: dict[str, int]
) -> None:
    refusing["127.0.0.2"] = number
    assert words in reason("localhost", 0)
