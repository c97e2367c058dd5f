"""An HTTP server inside a test: it ends with its test and says nothing of clients that left."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandIn(ThreadingHTTPServer):
    """Serves on a free port of localhost.

    A thread that outlived its test would write into the captured output of a later one.  Closing
    therefore breaks what is still open, sets ``ended`` and waits for every thread.

    Args:
        handler: answers the requests; one that waits on purpose waits for ``server.ended``.
    """

    daemon_threads = False  # the mixin waits only for threads that are none

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.ended = threading.Event()
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keep the connection, so that closing can break it."""
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error of the handler; a client that left is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Break every connection and wait for the threads."""
        self.ended.set()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


@contextmanager
def standing_in(handler: type[BaseHTTPRequestHandler]) -> Iterator[StandIn]:
    """Serve until the block ends."""
    with StandIn(handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
