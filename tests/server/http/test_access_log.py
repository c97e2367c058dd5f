from __future__ import annotations

import errno
import http.client
import json
import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tiankong.server.http.access_log import TOGETHER, AccessLog

START = Callable[..., Any]
TEXT = "今天气很[MASK]。"


@pytest.fixture(autouse=True)
def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0.0")


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_line_for_every_request_that_is_no_probe(start_process: START) -> None:
    server = start_process()
    named = {"X-Request-ID": "mine"}
    assert ask(server.port, "POST", "/predict", {"text": TEXT}, **named) == 200
    assert ask(server.port, "POST", "/predict/batch", {"texts": [TEXT, TEXT]}) == 200
    assert ask(server.port, "POST", "/predict", {"text": "今天"}) == 400
    assert ask(server.port, "GET", "/health/ready") == 200
    assert ask(server.port, "GET", "/metrics") == 200
    assert ask(server.port, "GET", "/nowhere?q=1") == 404
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")
    first, batch, refused, nowhere = server.logged
    assert first.keys() == {
        "time", "request_id", "client", "method", "path", "status", "ms", "bytes", "sentences"
    }  # fmt: skip
    assert datetime.fromisoformat(first["time"]).tzinfo
    assert (first["request_id"], first["client"], first["status"]) == ("mine", "127.0.0.1", 200)
    assert first["ms"] > 0
    assert first["bytes"] > 100
    assert (batch["sentences"], batch["path"]) == (2, "/predict/batch")
    assert (refused["status"], refused["reason"]) == (400, "bad_request")
    assert (nowhere["path"], nowhere["reason"]) == ("/nowhere", "not_found")
    # The log must not contain what people asked.
    assert TEXT not in json.dumps(server.logged, ensure_ascii=False)


def test_it_can_be_off(start_process: START) -> None:
    server = start_process("--no-access-log")
    assert ask(server.port, "POST", "/predict", {"text": TEXT}) == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")
    assert server.logged == []


def test_a_reader_that_stands_still_holds_up_nobody(start_process: START) -> None:
    server = start_process()  # nobody reads its standard output, which holds 64 KiB
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(700):
        connection.request("GET", "/nowhere/" + "x" * 100)
        response = connection.getresponse()
        response.read()
        assert response.status == 404
    connection.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0


def test_what_finds_no_room_is_dropped() -> None:
    reading, writing = os.pipe()
    log = AccessLog(writing, room=1)
    long = {"path": "x" * 200_000}  # more than a pipe holds: the thread blocks within the line
    assert log.write(long)
    seen = os.read(reading, 1)
    assert log.write({"n": 1})
    assert not log.write({"n": 2})
    while not seen.endswith(b'{"n": 1}\n'):
        seen += os.read(reading, 1 << 16)
    assert json.loads(seen.splitlines()[0]) == long
    log.close()
    os.close(writing)
    os.close(reading)


def test_lines_are_written_together_but_never_more_than_a_pipe_keeps_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, sizes = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        assert data.endswith(b"\n")
        return real(descriptor, data)

    entries = [{"n": n, "path": "/" + "x" * (n % 300)} for n in range(200)]
    entries[100] = {"n": 100, "path": "y" * 5000}
    with (tmp_path / "log").open("wb") as file:
        monkeypatch.setattr("tiankong.server.http.access_log.os.write", write)
        log = AccessLog(file.fileno())
        for entry in entries:
            assert log.write(entry)
        log.close()
    assert [json.loads(line) for line in (tmp_path / "log").open()] == entries
    assert len(sizes) < 20
    assert sum(size > TOGETHER for size in sizes) == 1  # the long line, alone


def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, failed = os.write, Event()

    def write(descriptor: int, data: bytes) -> int:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    with (tmp_path / "log").open("wb") as file:
        monkeypatch.setattr("tiankong.server.http.access_log.os.write", write)
        log = AccessLog(file.fileno())
        assert log.write({"n": 1})
        assert failed.wait(10)
        assert log.write({"n": 2})
        log.close()
    assert (tmp_path / "log").read_bytes() == b'{"n": 2}\n'


def test_a_reader_that_has_gone_is_no_trouble() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = AccessLog(writing)
    assert log.write({"n": 1})
    log.close()
    os.close(writing)
