"""Checks the key of every request, and records whose request it is."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.error_handlers import send_error
from app.api.errors import ApiError
from app.api.gate.access import AccessRules
from app.api.record import record_of


class Authentication:
    """Checks keys, and records whose request it is. Plain ASGI: it costs a stream nothing."""

    def __init__(self, app: ASGIApp, access: AccessRules) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Compared byte for byte: clients do not agree on which characters the bytes stand for.
            authorization = Headers(scope=scope).get("authorization", "").encode("latin-1")
            try:
                name = self._access.admit(scope["path"], authorization)
            except ApiError as error:
                await send_error(error, scope, receive, send)
                return
            record_of(scope).owner = self._access.owner(name)
        await self._app(scope, receive, send)
