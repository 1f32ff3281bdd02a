"""The table of routes: which generate, in which dialect, and which others there are. Only this module knows the rooms
of dialects.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.api import operations, statistics, web
from app.api.generation.dialect import Dialect, Endpoint
from app.api.openai import chat, completions
from app.api.openai.dialect import OPENAI

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(completions.router, OPENAI, "text_completion"),
    Endpoint(chat.router, OPENAI, "chat"),
)

OTHER_ROUTERS: tuple[APIRouter, ...] = (operations.router, statistics.router, web.router)

DEFAULT_DIALECT: Dialect = OPENAI
"""How errors are written where no dialect's route is asked for."""
