"""What a connection knows of its client and the application needs: a fast way to it, and how it left."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from app.api.wire.framing import Outlet
from app.engine.stream import CutReason

CLIENT = "client"
"""The key of a scope's state under which the connection puts the `Client`."""


@dataclass(slots=True)
class Client:
    """`outlet` is there where the response goes in chunks over a connection of ours. `left_as` says how a client that
    is no longer there has left.
    """

    outlet: Outlet | None = None
    left_as: CutReason = CutReason.CLIENT_GONE


def client_of(scope: Scope) -> Client:
    """The client of a request, which need not have come over a connection of ours."""
    client: Client = scope.get("state", {}).get(CLIENT) or Client()
    return client
