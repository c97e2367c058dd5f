"""The web page: a few files; it loads nothing from other servers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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


def _file(name: str) -> Response:
    path = files(__package__).joinpath(name)
    return Response(path.read_bytes(), media_type=TYPES[Path(name).suffix], headers=HEADERS)


ROUTES = [Route("/", page), *(Route(f"/{name}", part) for name in NAMES)]
