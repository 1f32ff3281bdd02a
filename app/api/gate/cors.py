"""Which other origins may call the API from a browser (CORS)."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

RATE_LIMITS = [f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")]


def allow_origins(app: FastAPI, origins: Seq[str]) -> None:
    """Let pages of these origins use the API; without this, a browser keeps them out.

    A page brings its key itself: there are no cookies that another page could make use of.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["X-Request-Id", "Retry-After", *RATE_LIMITS],
    )
