from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler

import pytest
from stand_in import StandIn, standing_in

from tiankong.bench.load import keep_alive
from tiankong.bench.load.keep_alive import KeepAlive, StatusError, encode_request
from tiankong.bench.load.target import Access, Target
from tiankong.toolkit.processes import free_port


class Handler(BaseHTTPRequestHandler):
    """Answers with the request's body and sender; ``/503`` fails, ``/cut`` sends half an answer."""

    protocol_version = "HTTP/1.1"
    timeout = 0.3  # an idle connection is closed then

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen = {"asked": asked, "host": self.headers["Host"], "port": self.client_address[1]}
        body = json.dumps(seen).encode()
        self.send_response(503 if self.path == "/503" else 200)
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:5] if self.path == "/cut" else body)
        self.close_connection = self.path in {"/close", "/cut"}

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[str]:
    with standing_in(Handler) as server:
        yield server.url


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening() as url:
        yield url


def port_of(caller: KeepAlive, url: str, path: str = "/predict") -> int:
    """Return the client's port: a different port means a new connection."""
    port = json.loads(caller.post(encode_request(Target(url), path, {"text": "好"})))["port"]
    assert isinstance(port, int)
    return port


def test_a_request_arrives_as_it_was_meant(url: str) -> None:
    answer = json.loads(
        KeepAlive(Target(url)).post(
            encode_request(Target(url), "/predict", {"text": "半[MASK]而废"})
        )
    )
    assert answer["asked"] == {"text": "半[MASK]而废"}
    assert answer["host"] == url.removeprefix("http://")


def test_one_connection_serves_one_request_after_the_other(url: str) -> None:
    caller = KeepAlive(Target(url))
    assert len({port_of(caller, url) for _ in range(5)}) == 1


def test_every_caller_has_its_own(url: str) -> None:
    assert port_of(KeepAlive(Target(url)), url) != port_of(KeepAlive(Target(url)), url)


def test_one_that_the_server_closes_after_its_answer_is_opened_again(url: str) -> None:
    caller = KeepAlive(Target(url))
    assert port_of(caller, url, "/close") != port_of(caller, url, "/predict")


def test_one_that_the_server_closed_while_idle_is_opened_again(url: str) -> None:
    caller = KeepAlive(Target(url))
    before = port_of(caller, url)
    time.sleep(0.7)
    assert port_of(caller, url) != before


def test_one_that_was_idle_and_is_still_open_is_kept(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_alive, "IDLE_SECONDS", 0.0)
    caller = KeepAlive(Target(url))
    assert port_of(caller, url) == port_of(caller, url)


def test_a_status_that_is_no_success_is_an_error_and_keeps_the_connection(url: str) -> None:
    caller = KeepAlive(Target(url))
    before = port_of(caller, url)
    with pytest.raises(StatusError, match="HTTP 503") as raised:
        caller.post(encode_request(Target(url), "/503", {}))
    assert raised.value.status_code == 503
    assert port_of(caller, url) == before


def test_half_an_answer_is_an_error_and_the_next_one_is_whole(url: str) -> None:
    caller = KeepAlive(Target(url))
    with pytest.raises((OSError, HTTPException)):
        caller.post(encode_request(Target(url), "/cut", {}))
    assert port_of(caller, url) > 0


def test_nobody_there_is_an_error_each_time() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    caller = KeepAlive(Target(nowhere))
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            caller.post(encode_request(Target(nowhere), "", {}))


def test_silence_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "ANSWER_SECONDS", 0.2)
    with pytest.raises(TimeoutError), StandIn(Handler) as silent:
        KeepAlive(Target(silent.url)).post(encode_request(Target("http://x"), "/", {}))


def test_a_name_is_resolved_and_written_into_the_request(url: str) -> None:
    named = url.replace("127.0.0.1", "localhost")
    answer = json.loads(
        KeepAlive(Target(named)).post(encode_request(Target(f"{named}/deep"), "/predict", {}))
    )
    assert answer["host"] == named.removeprefix("http://")


def test_headers_are_sent_along_and_replace_the_usual_ones() -> None:
    access = Access((("Authorization", "Bearer k"), ("host", "other.example")))
    sent = encode_request(Target("http://example.org:8080", access), "/", {})
    assert b"\r\nAuthorization: Bearer k\r\n" in sent
    assert b"\r\nhost: other.example\r\n" in sent
    assert sent.lower().count(b"host:") == 1
    assert b"Host: example.org:8080\r\n" in encode_request(
        Target("http://example.org:8080"), "/", {}
    )
