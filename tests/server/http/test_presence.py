"""Clients that leave before their answer: a real server, and connections that are closed."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

START = Callable[..., Any]


def begin(port: int, text: str) -> http.client.HTTPConnection:
    """Send a question and do not wait for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/predict", json.dumps({"text": text}))
    return connection


def metric(port: int, start: str) -> float:
    """Return the value of the sample whose line begins with ``start``; 0 if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next((float(line.split()[-1]) for line in lines if line.startswith(start)), 0.0)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_who_has_left_is_not_answered_and_counted_as_gone(
    start_process: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DELAY", "3")
    server = start_process("--streams=1")
    asked = "tiankong_batch_sentences_sum"
    before = metric(server.port, asked)
    first = begin(server.port, "slow[MASK]")
    until(lambda: metric(server.port, "tiankong_streams_busy") == 1)
    gone = [begin(server.port, "今天气很[MASK]。") for _ in range(3)]
    until(lambda: metric(server.port, "tiankong_queue_length") == 3)
    for connection in gone:
        connection.close()
    until(lambda: metric(server.port, "tiankong_queue_length") == 0)
    assert metric(server.port, 'tiankong_failures_total{reason="client_gone"}') == 3
    assert first.getresponse().status == 200  # the request being answered is not disturbed
    first.close()
    assert metric(server.port, asked) == before + 1
    server.process.send_signal(signal.SIGTERM)
    code, rest = server.end()
    assert (code, rest) == (0, "")
    assert sorted(entry["status"] for entry in server.logged) == [200, 499, 499, 499]


def test_who_stays_is_answered_however_long_it_takes(
    start_process: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DELAY", "1.5")
    server = start_process("--streams=1")
    connection = begin(server.port, "slow[MASK]")
    response = connection.getresponse()
    assert (response.status, len(json.loads(response.read())["results"])) == (200, 5)
    connection.request("POST", "/predict", json.dumps({"text": "slow[MASK]"}))  # kept alive
    assert connection.getresponse().status == 200
    connection.close()
