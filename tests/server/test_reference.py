"""The reference stack as a real process on real sockets."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

START = Callable[..., Any]
SLOW = {"text": "slow[MASK]"}
QUICK = {"text": "今天[MASK]"}


def ask(port: int, body: object, path: str = "/predict") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def status_of(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DELAY", "1.0")


def test_it_serves_and_ends_well_while_idle(start_process: START) -> None:
    server = start_process()
    assert server.first_line.startswith("serving fake on http://127.0.0.1:")
    assert status_of(server.port, "/health/ready") == 200
    status, body = ask(server.port, QUICK)
    assert (status, len(body["results"])) == (200, 5)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_accepted_requests_finish(start_process: START, sig: signal.Signals) -> None:
    server = start_process("--streams=1")
    # A connection from before the signal: later requests on it are refused, not lost.
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    kept.request("GET", "/health/ready")
    kept.getresponse().read()
    with ThreadPoolExecutor(2) as callers:
        accepted = [callers.submit(ask, server.port, SLOW) for _ in range(2)]
        time.sleep(0.3)
        server.process.send_signal(sig)
        assert [future.result()[0] for future in accepted] == [200, 200]
    kept.close()
    assert server.end() == (0, "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port)).close()


def test_told_to_end_it_answers_and_says_so(start_process: START) -> None:
    server = start_process("--drain-delay=0.5")
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    seen = []
    for number in range(3):
        kept.request("POST", "/predict", json.dumps(QUICK))
        if number == 1:  # while it is answered
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        response = kept.getresponse()
        response.read()
        seen.append((response.status, response.getheader("connection")))
    assert seen[0] == (200, None)
    assert seen[2] == (200, "close")
    assert seen[1][0] == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        came = b""
        while part := line.recv(65536):
            came += part
        # What was sent before the answer is answered too; the last answer says that it is.
        assert (came.count(b" 503 "), came.count(b"connection: close")) == (3, 1)
    assert server.end() == (0, "")


def test_a_connection_that_waits_to_be_accepted_is_answered(start_process: START) -> None:
    server = start_process("--drain-delay=0.2")
    assert status_of(server.port, "/health/ready") == 200
    server.process.send_signal(signal.SIGSTOP)
    lines = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(5)]
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    for line in lines:
        line.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
        line.close()
    assert server.end() == (0, "")


def test_not_ready_at_once_after_sigterm(start_process: START) -> None:
    server = start_process("--streams=1")
    with ThreadPoolExecutor(1) as callers:
        accepted = callers.submit(ask, server.port, SLOW)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 0.5
        statuses = []
        while time.monotonic() < end:
            try:
                statuses.append(status_of(server.port, "/health/ready"))
            except OSError:  # the listener is closed: not ready either
                break
        assert set(statuses) <= {503}
        assert accepted.result()[0] == 200
    assert server.end()[0] == 0


def test_overload_is_a_503_and_the_deadline_a_504(start_process: START) -> None:
    server = start_process("--streams=1", "--queue-limit=1", "--deadline=0.5")
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(ask, server.port, SLOW) for _ in range(8)]
        statuses = sorted(future.result()[0] for future in asked)
    assert statuses == [503] * 6 + [504] * 2
    time.sleep(1)
    assert ask(server.port, QUICK)[0] == 200


@pytest.mark.parametrize("word", ["boom", "nan"])
def test_a_failed_warm_up_is_one_line_and_exit_2(
    start_process: START, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("FAKE_WARM_UP", f"{word}[MASK]")
    server = start_process()
    assert server.first_line.startswith("tiankong: fake cannot be served: the warm-up failed: ")
    assert server.end() == (2, "")


def test_sigterm_while_warming_up_ends_well(
    start_process: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WARM_UP", "slow[MASK]")
    monkeypatch.setenv("FAKE_DELAY", "2")
    monkeypatch.setenv("FAKE_ANNOUNCE", "warming up")
    server = start_process()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")


def test_an_endless_chunked_body_is_refused(start_process: START) -> None:
    server = start_process()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(head)
        sent = 0
        try:
            while sent < 100_000_000:
                line.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
                sent += 4096
        except OSError:
            pass
        assert sent < 100_000_000
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert ask(server.port, QUICK)[0] == 200


def test_a_body_that_never_comes_is_a_408(start_process: START) -> None:
    server = start_process("--deadline=0.3")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(head)
        assert line.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_declared_length_is_refused_before_the_body(start_process: START) -> None:
    server = start_process()
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Length: 99999999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(head)
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_clients_that_leave_are_not_errors(start_process: START) -> None:
    server = start_process()
    for part in (b"POST /predict HTTP/1.1\r\nContent-Length: 10\r\n\r\n{", b"GET / HT", b""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
            line.sendall(part)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        body = json.dumps(SLOW).encode()
        line.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.2)
    assert ask(server.port, QUICK)[0] == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")


def test_one_connection_carries_many_requests(start_process: START) -> None:
    server = start_process()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for body in (b"{", json.dumps(QUICK).encode(), b"[]", json.dumps(QUICK).encode()):
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        response.read()
        assert response.status == (200 if b"text" in body else 400)
    connection.close()


def test_a_port_that_another_takes_while_the_model_is_warmed_up(
    start_process: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WARM_UP", "slow[MASK]")
    monkeypatch.setenv("FAKE_ANNOUNCE", "bound")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        server = start_process(f"--port={port}")
        assert server.first_line == "bound"
        other.listen()
        code, said = server.end()
    assert code == 2, said
    assert said == (
        f"tiankong: cannot listen on 127.0.0.1:{port}: another program took the port meanwhile;"
        " choose another --port\n"
    )
