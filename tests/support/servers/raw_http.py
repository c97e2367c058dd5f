"""A client on a raw socket, and what a server counted and logged of it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

START = Callable[..., Any]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 20.0  # seconds: longer than anything here takes
SLOW = b'POST /predict HTTP/1.1\r\nContent-Length: 22\r\n\r\n{"text": "slow[MASK]"}'
CHUNKS = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def line_to(server: Any, first: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as line:
        line.sendall(first)
        yield line


def rest_of(line: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    came = b""
    try:
        while data := line.recv(65536):
            came += data
    except ConnectionResetError:  # it did not read all we sent
        pass
    return came


def answer_on(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the one answer that comes next."""
    response = http.client.HTTPResponse(line)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read()


def problem_on(line: socket.socket) -> dict[str, Any]:
    """Return the problem that comes next, after which the server closes."""
    status, headers, body = answer_on(line)
    problem: dict[str, Any] = json.loads(body)
    assert problem["status"] == status
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["request_id"] != ""
    assert headers["connection"] == "close"
    assert rest_of(line) == b""
    return problem


def flood(line: socket.socket, piece: bytes, most: int = 100_000_000) -> bool:
    """Send a piece again and again; tell whether the server closed before ``most`` bytes."""
    try:
        for _ in range(most // len(piece)):
            line.sendall(piece)
    except ConnectionError:
        return True
    return False


def counted(server: Any) -> dict[str, float]:
    """Return the counters of requests and failures that are not 0."""
    with line_to(server, b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n") as line:
        text = answer_on(line)[2].decode()
    found = re.findall(r"^tiankong_(requests_total|failures_total)(\{.*\}) (.+)$", text, re.M)
    return {f"{name}{labels}": float(value) for name, labels, value in found}


def failures(server: Any) -> dict[str, float]:
    found = {key: value for key, value in counted(server).items() if "failures" in key}
    return {key.split('"')[1]: value for key, value in found.items()}


def logged(server: Any) -> list[tuple[str, str, int, str | None]]:
    """End the server and return of each line of its log what was asked and what came of it."""
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")
    return [
        (entry["method"], entry["path"], entry["status"], entry.get("reason"))
        for entry in server.logged
    ]
