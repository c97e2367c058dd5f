"""Targets: where a server is, what is sent along with each request, whom to trust.

Requests bypass any proxy (``http_proxy``), which must not become part of a measurement.
"""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ...toolkit.errors import UnusableInputError
from .dialects import PREDICT

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of a header: a token of RFC 9110
FRAMING = {"connection", "content-length", "transfer-encoding", "upgrade"}  # ours to send
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: what is measured is the server that was named, and no other gets the key."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Return no further request: the answer is an HTTPError."""


@dataclass(frozen=True)
class Access:
    """How running servers are asked: what is sent along, and which certificates are trusted.

    Args:
        headers: names and values sent with each request, such as a key; ``repr`` hides them.
        authority: certificates to trust, as PEM text (empty: the system's).
        insecure: any certificate is taken.

    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authority: str = field(default="", repr=False)
    insecure: bool = False

    def context(
        self, create: Callable[..., ssl.SSLContext] = ssl.create_default_context
    ) -> ssl.SSLContext:
        """Return the TLS context for connections, made by ``create``."""
        context = create(cadata=self.authority or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def to(self, url: str) -> Target:
        """Return the target at a URL; raise UnusableInputError if it is no base URL of a server."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise UnusableInputError(f"{url!r} is no URL of a server: write http://HOST:PORT")
        if parts.username is not None:
            raise UnusableInputError(
                f"the URL of {parts.hostname} names a user: send a key with --api-key-file or"
                " --header, so that it stands in no run file"
            )
        if parts.query or parts.fragment:
            raise UnusableInputError(f"{url}: leave out what follows '?' or '#'")
        return Target(url.rstrip("/"), self)

    def require_used(self, *, with_url: bool) -> None:
        """Raise UnusableInputError if it says anything, but no URL is there to be asked."""
        if not with_url and self != OPEN:
            raise UnusableInputError(
                "--api-key-file, --header, --cacert and --insecure are for the URL of a running"
                " server"
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Access:
        """Return the access of a JSON object."""
        headers = tuple((name, value) for name, value in data["headers"])
        return cls(**{**data, "headers": headers})


OPEN = Access()


@dataclass(frozen=True)
class Target:
    """A server: its base URL, without a slash at its end, and how it is asked.

    ``dialect`` names how it wants a sentence (dialects.py).
    """

    url: str
    access: Access = OPEN
    dialect: str = PREDICT

    @cached_property
    def _open(self) -> Callable[..., Any]:
        handlers: list[Any] = [urllib.request.ProxyHandler({}), _NoRedirects()]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=self.access.context()))
        return urllib.request.build_opener(*handlers).open

    def ask(self, path: str, data: object = None, *, timeout: float) -> Any:
        """Return the open response to a GET of a path, or to a POST of JSON ``data``.

        ``timeout`` is in seconds.  Raises OSError (URLError and HTTPError among them),
        HTTPException or ValueError as ``urllib`` does.
        """
        body = None if data is None else json.dumps(data, ensure_ascii=False).encode()
        headers = (JSON_HEADERS if data is not None else {}) | dict(self.access.headers)
        return self._open(urllib.request.Request(self.url + path, body, headers), timeout=timeout)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Target:
        """Return the target of a JSON object."""
        return cls(data["url"], Access.from_json(data["access"]), data.get("dialect", PREDICT))


def read_access(
    headers: Sequence[str], key_file: Path | None, authority: Path | None, *, insecure: bool
) -> Access:
    """Return what ``--header``, ``--api-key-file``, ``--cacert`` and ``--insecure`` say.

    The first key of the file is sent.  Raises UnusableInputError for what cannot be used.
    """
    named = [_header(text) for text in headers]
    if key_file is not None:
        from ...server.http.api_keys import keys_in  # it needs Starlette

        if any(name.lower() == "authorization" for name, _ in named):
            raise UnusableInputError(
                "--api-key-file and --header 'Authorization: …' exclude each other"
            )
        named.append(("Authorization", f"Bearer {keys_in(key_file)[0]}"))
    if authority is None:
        return Access(tuple(named), insecure=insecure)
    if insecure:
        raise UnusableInputError("--cacert and --insecure exclude each other")
    access = Access(tuple(named), _certificates(authority))
    try:
        access.context()
    except (ssl.SSLError, ValueError):
        raise UnusableInputError(f"--cacert {authority}: there is no certificate in PEM") from None
    return access


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not NAME.fullmatch(name):
        raise UnusableInputError("--header: write 'Name: value'")  # it may be a key: not shown
    if not value.isascii() or not value.isprintable():
        raise UnusableInputError(f"--header {name}: its value is not printable ASCII")
    if name.lower() in FRAMING:
        raise UnusableInputError(f"--header {name}: the load generator sets it")
    return name, value


def _certificates(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii", errors="ignore")  # comments, a byte order mark
    except OSError as error:
        raise UnusableInputError(f"--cacert {path} cannot be read: {error.strerror}") from None
    if "-----BEGIN CERTIFICATE-----" not in text:  # an empty text would mean the system's
        raise UnusableInputError(f"--cacert {path}: there is no certificate in PEM")
    return text
