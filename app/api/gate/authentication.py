"""Who may use which route: every route needs a key, except those listed here."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.error_handlers import send_error
from app.api.errors import ApiError
from app.api.gate.keys import KeyRing
from app.api.gate.owner import Owner
from app.api.record import record_of

OPEN_PATHS = frozenset({"/", "/dashboard", "/health", "/ready"})
OPEN_PREFIX = "/assets/"
METRICS_PATH = "/metrics"
STATISTICS_PATH = "/v1/stats/stream"
"""Shows everybody's requests one by one: not meant for everybody who may send one."""

BLANKS = b" \t"


@dataclass(frozen=True, slots=True)
class Access:
    """Which keys open which routes: `keys` open every route except the statistics, which `admin_keys` open. On a server
    without any keys those are open too.

    Metrics are open to all unless they have keys of their own. `shares_cache` lets all keys share cached blocks.
    """

    keys: KeyRing = field(default_factory=KeyRing)
    metrics_keys: KeyRing = field(default_factory=KeyRing)
    admin_keys: KeyRing = field(default_factory=KeyRing)
    shares_cache: bool = False

    def admit(self, path: str, authorization: bytes) -> str:
        """The name of the key in this header, "" where no key is needed. Raises ApiError with 401 or 403."""
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return ""
        ring = self._ring(path)
        if not ring.is_needed:
            return ""
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not secret.strip(BLANKS):
            raise _unauthorized("No API key was given; send it as 'Authorization: Bearer KEY'.")
        key = ring.find(secret.strip(BLANKS))
        if key is None:
            raise _unauthorized("The API key is not known here.")
        if path == STATISTICS_PATH and ring is not self.admin_keys:
            raise _admin_key_not_set()
        return key.name

    def owner(self, name: str) -> Owner:
        """How the engine is to treat requests with the key of this name."""
        return Owner(name, self.keys.quota_of(name).min_priority, self.shares_cache)

    def _ring(self, path: str) -> KeyRing:
        if path == METRICS_PATH:
            return self.metrics_keys
        return self.admin_keys if path == STATISTICS_PATH and self.admin_keys.is_needed else self.keys


class Authentication:
    """Checks keys, and records whose request it is. Plain ASGI: it costs a stream nothing."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
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


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="millrace"'})


def _admin_key_not_set() -> ApiError:
    message = (
        "The statistics show the requests of all keys, and this server has no key for whoever may see that; "
        "start it with the setting admin_key (MILLRACE_ADMIN_KEY)."
    )
    return ApiError(403, message, code="admin_key_not_set")
