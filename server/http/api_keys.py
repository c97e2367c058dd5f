"""API keys: which clients may ask, if the operator has set keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...toolkit.errors import UnusableInputError
from ...toolkit.files import read_text
from .problems import ProblemError

SHORTEST = 16  # characters; shorter keys can be guessed
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tiankong"'}
DETAIL = "this server wants an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
# Paths without a key: probes of load balancers, the page (it asks for the key), the API document.
OPEN = frozenset(
    {
        "/",
        "/page.css",
        "/page.js",
        "/page-words.js",
        "/page-text.js",
        "/page.json",
        "/openapi.json",
        "/health/live",
        "/health/ready",
        "/v2/health/live",
        "/v2/health/ready",
    }
)


@cache  # read once: the file may be a pipe
def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the SHA-256 digests of the keys in a file; raises as :func:`keys_in` does."""
    return tuple(_digest(key) for key in keys_in(path))


def keys_in(path: Path) -> list[str]:
    """Return the keys in a file.

    The file has one key per line; empty lines and lines that begin with # are skipped.  Raises
    UnusableInputError if the file cannot be read, has no key, or has a key that is too short or is
    not printable ASCII without spaces.
    """
    keys = []
    for number, line in enumerate(read_text(path, f"API key file {path}").splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise UnusableInputError(
                f"{path}, line {number}: a key has at least {SHORTEST} characters, printable ASCII"
                " without spaces"
            )
        keys.append(key)
    if not keys:
        raise UnusableInputError(f"{path} names no API key: write one per line")
    return keys


class ApiKeys:
    """ASGI middleware: a 401 problem for requests without a valid key, except to ``OPEN`` paths.

    Only digests of the keys are stored (see :func:`read_keys`); they are compared in constant time.
    """

    def __init__(self, app: ASGIApp, keys: Collection[bytes]) -> None:
        self._app = app
        self._digests = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not self._has_valid_key(scope):
            request_id = scope["state"]["request_id"]
            problem = ProblemError(401, DETAIL, CHALLENGE)
            await problem.response(request_id)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_valid_key(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(key.strip())
        # All digests are compared, so the time taken does not tell which one matched.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
