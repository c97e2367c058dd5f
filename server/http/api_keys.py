"""API keys: who may ask, where the operator has named keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...toolkit.errors import UnusableInputError
from .problems import problem_response

SHORTEST = 16  # characters; shorter keys can be guessed
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tiankong"'}
DETAIL = "this server wants an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
# What a load balancer probes, the page (it asks for the key), and what describes the API.
OPEN = frozenset(
    {
        "/",
        "/page.css",
        "/page.js",
        "/openapi.json",
        "/health/live",
        "/health/ready",
        "/v2/health/live",
        "/v2/health/ready",
    }
)


@cache  # read once: it may be a pipe
def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the digests of a file's keys.

    One key a line; empty lines and lines that begin with # are left out.  Raises
    UnusableInputError if it cannot be read, names no key, or one that is too short or not printable
    ASCII without spaces.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UnusableInputError(f"cannot read the API keys in {path}: {why}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise UnusableInputError(
                f"{path}, line {number}: a key has at least {SHORTEST} characters, printable ASCII"
                " without spaces"
            )
        keys.append(_digest(key))
    if not keys:
        raise UnusableInputError(f"{path} names no API key: write one a line")
    return tuple(keys)


class ApiKeys:
    """ASGI middleware: 401 for whoever brings none of the keys, but not at the ``OPEN`` paths.

    Only digests are kept (see :func:`read_keys`) and compared, in constant time.
    """

    def __init__(self, app: ASGIApp, keys: Collection[bytes]) -> None:
        self._app = app
        self._digests = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not self._knows(scope):
            name = scope["state"]["request_id"]
            await problem_response(401, DETAIL, name, CHALLENGE)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(given.strip())
        # All are compared: how long it takes says nothing about which matched.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
