"""The port, taken before anything is loaded: nobody should wait for a model only to learn that the port is in use."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors for one address of a host, such as `::1` where there is no IPv6; its other addresses suffice."""

FREE_PORT = "--port 0 picks a free one"


class PortUnavailable(ValueError):
    """The server cannot listen where it was asked to; the message says why, and what would work."""


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on every address of a host; `localhost` may have two. Raises PortUnavailable.

    From here on the operating system accepts connections, which wait until the server reads from them.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PortUnavailable(f"--host {host!r} is not an address of this machine: {error}") from error
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listen(family, protocol, address, backlog))
        except OSError as error:
            failure = error
            if error.errno not in NOT_HERE:
                break
    if failure is not None and (not sockets or failure.errno not in NOT_HERE):
        for each in sockets:
            each.close()
        raise PortUnavailable(_reason(host, port, failure)) from failure
    return sockets


def url_of(listener: socket.socket, *, is_secure: bool) -> str:
    """The address under which clients reach a listening socket."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_secure else 'http'}://{shown}:{port}"


def _listen(family: int, protocol: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} of {host} is in use{_holder(port)}; stop that process, or listen on another port with "
                f"--port ({FREE_PORT})"
            )
        case errno.EACCES | errno.EPERM:
            return f"this user may not listen on port {port}; choose one above 1023 with --port ({FREE_PORT})"
        case errno.EADDRNOTAVAIL:
            return (
                f"--host {host} is not an address of this machine; 127.0.0.1 is one, and 0.0.0.0 stands for all of them"
            )
        case _:
            return f"the server cannot listen on port {port} of {host}: {error.strerror}"


def _holder(port: int) -> str:
    """Which process listens on a port, in words for a message; empty if this user may not know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_holder = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if is_holder and connection.pid:
                process = psutil.Process(connection.pid)
                command = " ".join(" ".join(process.cmdline()[:4]).split())
                return f" by process {process.pid} ({command})"
    return ""
