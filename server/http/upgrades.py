"""A request that wishes for another protocol is read on as HTTP/1.1."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

FRAMING = (b"content-length", b"transfer-encoding")


def parser_of_body(connection: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """Return a parser for the body that follows a head with an Upgrade header, and what follows it.

    A server may pass over such a wish (RFC 9110, 7.8), but the first parser takes the rest for the
    other protocol.  Some clients send one with every request (Java's ``HttpClient``).
    """
    rest = _Rest(connection)
    parser = httptools.HttpRequestParser(rest)
    framing = [(name, value) for name, value in connection.headers if name.lower() in FRAMING]
    lines = [b"%s: %s\r\n" % header for header in framing]
    parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n")
    return parser


class _Rest:
    """The parser's callbacks: the connection's own, but silent during the first head."""

    def __init__(self, connection: HttpToolsProtocol) -> None:
        self._connection = connection
        self._is_silent = True
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_silent:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_silent:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_silent:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_silent:
            self._is_silent = False
        else:
            self._connection.on_headers_complete()
