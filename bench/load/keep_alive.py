"""A connection: one user's keep-alive HTTP connection, which sends requests encoded before.

The generator shares its cores with the server, so CPU time spent here is missing there.  A request
costs less than half of the CPU time of Locust's ``FastHttpUser``, which merges and checks headers,
stores cookies and follows redirects for every request.
"""

from __future__ import annotations

import json
import ssl
from functools import cache
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import gevent.ssl
import h11
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPResponse

from .target import JSON_HEADERS, Access, Target

CONNECT_SECONDS, ANSWER_SECONDS = 30.0, 60.0
IDLE_SECONDS = 0.5  # a server may close a connection that was idle for longer
BLOCK_BYTES = 65536


class StatusError(Exception):
    """The server answered with a status other than 2xx."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


def encode_request(target: Target, path: str, data: Any) -> bytes:
    """Return a POST request of JSON ``data`` to a path of a target, as the bytes to send."""
    body = json.dumps(data, ensure_ascii=False).encode()
    parts = urlsplit(target.url + path)
    own = {name.lower() for name, _ in target.access.headers}
    usual = {"Host": parts.netloc, **JSON_HEADERS}
    headers = [(name, value) for name, value in usual.items() if name.lower() not in own]
    headers += [*target.access.headers, ("Content-Length", str(len(body)))]
    writer = h11.Connection(h11.CLIENT)
    head = writer.send(h11.Request(method="POST", target=parts.path or "/", headers=headers))
    return (head or b"") + (writer.send(h11.Data(data=body)) or b"")


@cache  # reading the certificates takes many milliseconds
def _context(access: Access) -> ssl.SSLContext:
    return access.context(gevent.ssl.create_default_context)


def _pool(target: Target) -> ConnectionPool:
    """Return a pool of one connection, which resolves names, applies timeouts, notices closing."""
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        port = parts.port or 80
        pool = ConnectionPool(host, port, host, port, size=1)
    else:
        port = parts.port or 443
        pool = SSLConnectionPool(
            host, port, host, port, size=1, insecure=target.access.insecure,
            ssl_context_factory=lambda **_: _context(target.access),
        )  # fmt: skip
    pool.connection_timeout, pool.network_timeout = CONNECT_SECONDS, ANSWER_SECONDS
    return pool


class Answer(HTTPResponse):
    """A response that stores only status and body; the parser calls its methods."""

    def __init__(self) -> None:
        super().__init__("POST")
        self.body = b""
        self.is_whole = False

    def _on_body(self, part: bytearray) -> None:
        self.body += part

    def _on_message_complete(self) -> None:
        self.is_whole = self.get_code() >= 200  # an interim response (1xx) is not the answer

    def _on_status(self, msg: str) -> None:
        pass

    def _on_header_field(self, string: str) -> None:
        pass

    def _on_header_value(self, string: str) -> None:
        pass

    def _on_message_begin(self) -> None:
        pass

    def _on_headers_complete(self) -> None:
        pass


class KeepAlive:
    """A connection to a target; opened on first use, reopened after it was closed."""

    def __init__(self, target: Target) -> None:
        self._pool = _pool(target)
        self._socket: Any = None
        self._used = 0.0

    def post(self, request: bytes) -> bytes:
        """Send a request and return the answer's body.

        Raises OSError or http.client.HTTPException if no whole answer came, StatusError if its
        status is not 2xx.
        """
        connected = self._connected()
        try:
            connected.sendall(request)
            answer = Answer()
            while not answer.is_whole:
                received = connected.recv(BLOCK_BYTES)
                answer.feed(received)  # the end of the connection may be the end of the answer
                if not received and not answer.is_whole:
                    raise ConnectionResetError("closed before the whole answer came")
        except BaseException:
            self._drop()
            raise
        if not answer.should_keep_alive():
            self._drop()
        self._used = perf_counter()
        if not 200 <= answer.get_code() < 300:
            raise StatusError(answer.get_code())
        return answer.body

    def _connected(self) -> Any:
        if self._socket is not None and perf_counter() - self._used > IDLE_SECONDS:
            self._pool.return_socket(self._socket)  # the pool checks whether it is still open
            self._socket = None
        if self._socket is None:
            self._socket = self._pool.get_socket()
        return self._socket

    def _drop(self) -> None:
        self._pool.release_socket(self._socket)
        self._socket = None
