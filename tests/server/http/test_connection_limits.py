"""How many connections, and what becomes of a client that does not read."""

from __future__ import annotations

import json
import resource
import select
import socket
import time
from contextlib import ExitStack

import pytest
from raw_http import (
    LIVE,
    PATIENCE,
    START,
    answer_on,
    failures,
    flood,
    line_to,
    logged,
    rest_of,
)

from tiankong.server.http.connection import SPARE, room_for


@pytest.fixture(autouse=True)
def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0.5")


def test_one_connection_too_many_is_a_503_at_once(start_process: START) -> None:
    server = start_process("--connections=3")
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(line_to(server))
        with line_to(server) as line:  # it sends nothing
            status, headers, body = answer_on(line)
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert headers["x-request-id"] == json.loads(body)["request_id"]
    with line_to(server, LIVE) as line:
        assert answer_on(line)[0] == 200
    assert failures(server) == {"too_many_connections": 1}
    assert logged(server) == [("-", "-", 503, "too_many_connections")]


def test_where_room_is_short_idle_connections_make_some(start_process: START) -> None:
    server = start_process("--connections=4", "--head-deadline=20")
    with ExitStack() as stack:
        idle = [stack.enter_context(line_to(server, LIVE)) for _ in range(4)]
        assert [answer_on(line)[0] for line in idle] == [200] * 4
        closed, _, _ = select.select(idle, [], [], PATIENCE)
        assert closed
        assert [rest_of(line) for line in closed] == [b""] * len(closed)


def test_a_client_that_does_not_read_is_given_up(start_process: START) -> None:
    server = start_process("--deadline=0.5")
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(PATIENCE)
        line.connect(("127.0.0.1", server.port))
        # One at a time, so that few wait: until no more answers have room, and then some time.
        for _ in range(3000):
            if flood(line, asked, len(asked)):
                return
            time.sleep(0.004)
        pytest.fail("the server goes on for a client that does not read")


def test_a_connection_takes_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 1_000_000]

    def raise_to(_: int, new: tuple[int, int]) -> None:
        limits[:] = new

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", raise_to)
    assert room_for(500) == 500
    assert limits == [1024, 1_000_000]
    assert room_for(5000) == 5000
    assert limits == [5000 + SPARE, 1_000_000]
    limits[:] = 1024, 1024
    assert room_for(5000) == 1024 - SPARE
    limits[:] = 64, 64
    assert room_for(5000) == 32
    limits[:] = 256, resource.RLIM_INFINITY
    assert room_for(5000) == 5000
    limits[:] = [resource.RLIM_INFINITY] * 2
    assert room_for(5000) == 5000
