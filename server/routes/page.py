"""The web page: a few files; it loads nothing from other servers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..batching.service import service_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


NAMES = ("page.css", "page.js", "page-words.js", "page-text.js")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


async def page(_: Request) -> Response:
    """Return the page."""
    return _file("page.html")


async def part(request: Request) -> Response:
    """Return a file that the page loads."""
    return _file(request.url.path.rpartition("/")[2])


async def terms(request: Request) -> Response:
    """Say whether clients need an API key: to find out by a 401 is an error in a browser's log."""
    needs_key = service_of(request).settings.api_key_file is not None
    return JSONResponse({"api_key": needs_key}, headers=HEADERS)


def _file(name: str) -> Response:
    path = files(__package__).joinpath(name)
    return Response(path.read_bytes(), media_type=TYPES[Path(name).suffix], headers=HEADERS)


ROUTES = [
    Route("/", page),
    Route("/page.json", terms),
    *(Route(f"/{name}", part) for name in NAMES),
]
