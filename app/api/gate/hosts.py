"""Which host names the server answers to, so that no page of another site reaches it by DNS rebinding."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.error_handlers import send_error
from app.api.errors import ApiError
from app.api.excerpts import shortened

LOCAL_HOST = "localhost"
ANY_HOST = "*"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to `host`, a name or an address to listen on."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # binding to it will report that
        return host.lower() == LOCAL_HOST
    return all(ip_address(address[4][0]).is_loopback for address in found)


class HostCheck:
    """Refuses requests whose `Host` header names anything but `hosts`, with any port. Plain ASGI.

    A browser that DNS rebinding led here still names the site that it believes it is talking to. An address cannot be
    rebound, and a request without the header does not come from a browser.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(map(str.lower, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if strangers := [host for host in named if not self._is_served(host)]:
                await send_error(self._refusal(strangers[0]), scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_served(self, host: str) -> bool:
        name = re.sub(r":\d*$", "", host.lower(), flags=re.ASCII)
        return name.removesuffix(".") in self._hosts or _is_address(name)

    def _refusal(self, host: str) -> ApiError:
        message = (
            f"This server does not answer to the host '{shortened(host)}', but to {', '.join(sorted(self._hosts))} and "
            "to addresses. The setting allowed_hosts (MILLRACE_ALLOWED_HOSTS) can list more names."
        )
        return ApiError(403, message, code="host_not_allowed")


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False
