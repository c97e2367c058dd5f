"""The web page: three files; it loads nothing from other servers."""

from __future__ import annotations

from importlib.resources import files

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


async def page(_: Request) -> Response:
    """Return the page."""
    return _file("page.html", "text/html")


async def style(_: Request) -> Response:
    """Return the page's style sheet."""
    return _file("page.css", "text/css")


async def script(_: Request) -> Response:
    """Return the page's script."""
    return _file("page.js", "text/javascript")


def _file(name: str, media_type: str) -> Response:
    content = files(__package__).joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers=HEADERS)


ROUTES = [Route("/", page), Route("/page.css", style), Route("/page.js", script)]
