"""Which key opens which route: every route needs one, except those listed here."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.api.errors import ApiError
from app.api.gate.keys import KeyRing
from app.api.gate.owner import Owner

OPEN_PATHS = frozenset({"/", "/dashboard", "/health", "/ready"})
OPEN_PREFIX = "/assets/"
METRICS_PATH = "/metrics"
STATISTICS_PATH = "/v1/stats/stream"
"""Shows the requests of all keys one by one, which the holder of one key need not be allowed to see."""

BLANKS = b" \t"


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Decides which keys open which routes.

    `keys` open every route, but the statistics only where there are no `admin_keys`, which otherwise open those. A
    server without any keys is open. Metrics are open to all unless they have keys of their own. `shares_cache` lets
    all keys share cached blocks.
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


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="millrace"'})


def _admin_key_not_set() -> ApiError:
    message = (
        "The statistics show the requests of all keys, so they need an admin key, and this server has none; "
        "start it with the setting admin_key (MILLRACE_ADMIN_KEY)."
    )
    return ApiError(403, message, code="admin_key_not_set")
