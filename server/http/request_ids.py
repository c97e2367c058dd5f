"""Every response carries X-Request-ID, and none carries a traceback."""

from __future__ import annotations

import logging
from random import Random

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ProblemError

HEADER = "X-Request-ID"
RAW_HEADER = b"x-request-id"  # as it stands in a scope
MAX_LENGTH = 128

log = logging.getLogger("tiankong.server")
_bits = Random().getrandbits  # nobody else seeds it


class RequestIds:
    """ASGI middleware: gives each request an id, and answers 500 for unexpected errors.

    The client's own id is used if it is 1 to 128 printable ASCII characters.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = name_of(scope)
        scope.setdefault("state", {})["request_id"] = name
        stamp = (RAW_HEADER, name.encode("latin-1"))
        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], stamp]
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception:
            log.exception("request %s failed", name)
            if started:
                raise
            problem = ProblemError(500, "the server failed; its log says why").response(name)
            await problem(scope, receive, stamped)


def request_id(request: Request) -> str:
    """Return the id that the middleware gave this request."""
    return str(request.state.request_id)


def name_of(scope: Scope) -> str:
    """Return the id in a request's headers, or a new one."""
    for name, value in scope["headers"]:
        if name == RAW_HEADER:
            return _usable(value.decode("latin-1")) or _new()
    return _new()


def _new() -> str:
    return f"{_bits(128):032x}"  # unlike a UUID's, these bits need no call of the system


def _usable(header: str) -> str:
    """Return the id in a header's value, or an empty string if it is not usable."""
    usable = header.isascii() and header.isprintable() and len(header) <= MAX_LENGTH
    return header.strip() if usable else ""
