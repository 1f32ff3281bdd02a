"""The chat, the dashboard and their assets: files of `app/web`, under a policy that admits nothing from elsewhere."""

from __future__ import annotations

from os import PathLike, stat_result
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent.parent / "web"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline and nothing from other origins. Since there are no trusted types, the browser itself refuses to turn a
string into markup or code, whatever the script does with what a model wrote.
"""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""`no-cache` lets a browser keep a file, but makes it ask each time, by ETag, whether it is still current."""

router = APIRouter(include_in_schema=False)


class GuardedFiles(StaticFiles):
    """Files sent with `HEADERS`."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


documents = GuardedFiles(directory=WEB)
assets = GuardedFiles(directory=WEB / "assets")


@router.api_route("/", methods=["GET", "HEAD"])
async def chat(request: Request) -> Response:
    """Talk to the model."""
    return await documents.get_response("chat.html", request.scope)


@router.api_route("/dashboard", methods=["GET", "HEAD"])
async def dashboard(request: Request) -> Response:
    """See what generation costs."""
    return await documents.get_response("dashboard.html", request.scope)


@router.api_route("/assets/{path:path}", methods=["GET", "HEAD"])
async def asset(path: str, request: Request) -> Response:
    """A style sheet, a script or a picture."""
    return await assets.get_response(path, request.scope)
