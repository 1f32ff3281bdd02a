"""Who may come in: every route asks for a key, but for those listed here."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import ApiError
from app.api.keys import KeyRing
from app.api.record import current_record

OPEN_PATHS = frozenset({"/", "/dashboard", "/health", "/ready"})
OPEN_PREFIX = "/assets/"
METRICS_PATH = "/metrics"
STATISTICS_PATH = "/v1/stats/stream"
"""What everybody's requests come to, which not everybody who may send one should see."""


@dataclass(frozen=True, slots=True)
class Access:
    """`keys` open every route. Metrics and statistics may have keys of their own instead.

    Without those, metrics are open to all.
    """

    keys: KeyRing = field(default_factory=KeyRing)
    metrics_keys: KeyRing = field(default_factory=KeyRing)
    admin_keys: KeyRing = field(default_factory=KeyRing)

    def admit(self, path: str, authorization: str) -> str:
        """The name of whoever comes with this header, "" where no name is needed. Raises ApiError with 401."""
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return ""
        ring = self._ring(path)
        if not ring.is_needed:
            return ""
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise _unauthorized("No API key was given; send it as 'Authorization: Bearer KEY'.")
        key = ring.find(secret.strip())
        if key is None:
            raise _unauthorized("The API key is not known here.")
        return key.name

    def _ring(self, path: str) -> KeyRing:
        if path == METRICS_PATH:
            return self.metrics_keys
        return self.admin_keys if path == STATISTICS_PATH and self.admin_keys.is_needed else self.keys


class Guard:
    """Asks for keys, and notes in `state.owner` whose request it is. Plain ASGI: it costs a stream nothing."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                owner = self._access.admit(scope["path"], Headers(scope=scope).get("authorization", ""))
            except ApiError as error:
                current_record().error = error
                await error.response()(scope, receive, send)
                return
            scope.setdefault("state", {})["owner"] = owner
        await self._app(scope, receive, send)


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="millrace"'})
