"""The reference server on raw sockets, asked by clients that do not behave."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from contextlib import suppress

import pytest
from raw_http import (
    CHUNKS,
    LIVE,
    PATIENCE,
    SLOW,
    START,
    answer_on,
    counted,
    failures,
    flood,
    line_to,
    logged,
    problem_on,
    rest_of,
)

from tiankong.server.http.connection import HEAD_LIMIT, PIPELINE_LIMIT


@pytest.fixture(autouse=True)
def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0.5")


def test_a_connection_that_asks_nothing_is_closed(start_process: START) -> None:
    server = start_process("--head-deadline=0.3")
    with line_to(server) as silent, line_to(server, b"\r\n\r\n") as blank:
        assert rest_of(silent) == rest_of(blank) == b""
    assert logged(server) == []


def test_a_head_that_comes_too_slowly_is_a_408(start_process: START) -> None:
    server = start_process("--head-deadline=0.5")
    head = b"POST /predict?secret HTTP/1.1\r\nX-Request-ID: mine\r\nX-Long: "
    with line_to(server, head) as line:
        line.settimeout(0.1)
        for _ in range(300):
            try:
                line.sendall(b"x")
                if line.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        line.settimeout(PATIENCE)
        problem = problem_on(line)
    assert (problem["status"], problem["request_id"]) == (408, "mine")
    assert failures(server) == {"head_too_late": 1}
    assert counted(server)['requests_total{route="other",status="408"}'] == 1
    assert logged(server) == [("POST", "/predict", 408, "head_too_late")]


def test_the_second_head_of_a_connection_has_its_time_too(start_process: START) -> None:
    server = start_process("--head-deadline=0.3")
    with line_to(server, LIVE) as line:
        assert answer_on(line)[0] == 200
        time.sleep(1)  # to wait between two requests is no mistake
        line.sendall(LIVE)
        assert answer_on(line)[0] == 200
        line.sendall(LIVE[:-10])
        assert problem_on(line)["status"] == 408


LARGE = [b"X: %s\r\n" % (b"x" * 40_000), b"X: %s\r\n" % (b"x" * 2_000_000), b"a:b\r\n" * 101]


def test_a_head_that_is_too_large_is_a_431(start_process: START) -> None:
    server = start_process()
    for part in LARGE:
        for end in (b"\r\n", b""):
            with line_to(server, b"GET /nope HTTP/1.1\r\n") as line:
                with suppress(OSError):  # the server has closed already
                    line.sendall(part + end)
                    line.sendall(b"X: y" * 100)
                status, _, body = answer_on(line)
                assert (status, json.loads(body)["status"]) == (431, 431)
    assert failures(server) == {"head_too_large": 2 * len(LARGE)}


def test_a_head_that_never_ends_is_not_kept(start_process: START) -> None:
    server = start_process()
    for piece in (b"X: %s\r\n" % (b"x" * 1000), b"x" * 1000):
        with line_to(server, b"GET / HTTP/1.1\r\nY: ") as line:
            assert flood(line, piece)


def test_a_large_head_that_is_not_too_large_is_read(start_process: START) -> None:
    server = start_process()
    large = b"X: %s\r\n" % (b"x" * (HEAD_LIMIT - 1000))
    body = json.dumps({"text": "今天[MASK]" + " " * 50_000}).encode()
    head = b"POST /predict HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (large, len(body))
    with line_to(server) as line:
        for _ in range(2):
            line.sendall(head + body)
            assert answer_on(line)[0] == 200
        line.sendall(head[:20_000])
        time.sleep(0.1)
        line.sendall(head[20_000:] + body + LIVE[:10])  # the next head begins in the same piece
        assert answer_on(line)[0] == 200
        time.sleep(0.1)
        line.sendall(LIVE[10:])
        assert answer_on(line)[0] == 200


def test_an_endless_body_that_nobody_wants_ends_the_connection(start_process: START) -> None:
    server = start_process()
    for path, begin in ((b"/nope", b"HTTP/1.1 404"), (b"/health/live", b"HTTP/1.1 405")):
        with line_to(server, CHUNKS % path) as line:
            assert flood(line, b"1000\r\n" + b" " * 4096 + b"\r\n")
            assert line.recv(len(begin)) == begin


def test_a_body_that_nobody_wants_and_that_never_comes_ends_the_connection(
    start_process: START,
) -> None:
    server = start_process("--head-deadline=0.3")
    with line_to(server, b"POST /nope HTTP/1.1\r\nContent-Length: 10\r\n\r\n{") as line:
        assert answer_on(line)[0] == 404
        assert rest_of(line) == b""


def test_a_small_body_that_nobody_wants_does_not_cost_the_connection(start_process: START) -> None:
    server = start_process()
    with line_to(server) as line:
        for _ in range(3):
            line.sendall(b"POST /nope HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
            assert answer_on(line)[0] == 404
            line.sendall(b"123456789")
        line.sendall(LIVE)
        assert answer_on(line)[0] == 200


def test_a_client_that_was_not_told_to_send_a_body_need_not(start_process: START) -> None:
    server = start_process()
    head = b"POST /nope HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    with line_to(server, head) as line:
        assert answer_on(line)[0] == 404
        assert rest_of(line) == b""


def test_what_follows_a_body_is_limited_too(start_process: START) -> None:
    server = start_process()
    for trailer, status in ((b"a:b\r\n" * 1000, 431), (b"a: %s\r\n" % (b"x" * 1_000_000), 413)):
        with line_to(server, CHUNKS % b"/predict" + b"2\r\n{}\r\n0\r\n") as line:
            with suppress(OSError):  # the server has closed already
                line.sendall(trailer)
            assert answer_on(line)[0] == status


NO_REQUESTS = [
    (b"\x16\x03\x01\x02\x00\x01\x00", "-", "-"),  # TLS
    (b"hello\r\n\r\n", "-", "-"),
    (b"BREW /pot HTTP/1.1\r\n\r\n", "-", "-"),
    (b"GET /nope SPDY/1\r\n\r\n", "GET", "/nope"),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET", "/"),
    (b"GET /\xe4\xbb\x8a?secret HTTP/1.1\r\n\r\n", "-", "-"),
    (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "CONNECT", "example.org:443"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI", "*"),
]


def test_what_is_no_request_is_a_400_like_all_others(start_process: START) -> None:
    server = start_process()
    for sent, _, _ in NO_REQUESTS:
        with line_to(server, sent) as line:
            problem = problem_on(line)
        assert problem["status"] == 400
        assert problem["detail"].startswith("this is not a request of HTTP/1.1: ")
    assert failures(server) == {"bad_request": len(NO_REQUESTS)}
    assert counted(server)['requests_total{route="other",status="400"}'] == len(NO_REQUESTS)
    assert logged(server) == [(method, path, 400, "bad_request") for _, method, path in NO_REQUESTS]


def test_what_is_no_request_waits_for_its_turn(start_process: START) -> None:
    server = start_process("--streams=1")
    with line_to(server, SLOW + LIVE + b"hello\r\n\r\n" + LIVE) as line:
        assert re.findall(rb"HTTP/1.1 (\d+)", rest_of(line)) == [b"200", b"200", b"400"]
    assert failures(server) == {"bad_request": 1}


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_a_body_that_is_none_is_a_400_and_counted_once(start_process: START, pause: float) -> None:
    server = start_process()
    for number, first in enumerate((b"", b"", SLOW), 1):
        with line_to(server, first + CHUNKS % b"/predict") as line:
            time.sleep(pause)
            line.sendall(b"2\r\n{}\r\nno length\r\n")
            came = rest_of(line)
        assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200"] * bool(first) + [b"400"]
        assert failures(server) == {"bad_request": number}
        names = re.findall(rb"x-request-id: (\w+)", came)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")
    assert server.logged[-1]["request_id"] == names[-1].decode()
    assert [entry.get("reason") for entry in server.logged].count("bad_request") == number


def test_a_broken_body_that_nobody_wants_ends_the_connection(start_process: START) -> None:
    server = start_process()
    with line_to(server, CHUNKS % b"/nope" + b"no length\r\n") as line:
        assert re.findall(rb"HTTP/1.1 (\d+)", rest_of(line)) == [b"404"]


def test_a_wish_for_another_protocol_is_not_granted(start_process: START) -> None:
    server = start_process()
    wish = b"GET /health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
    for protocol in (b"h2c", b"websocket"):
        with line_to(server, wish % protocol) as line:
            assert answer_on(line)[0] == 200
            line.sendall(LIVE)
            assert answer_on(line)[0] == 200
    last = b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n"
    with line_to(server, wish % b"h2c" + LIVE + wish % b"h2c" + last) as line:
        assert re.findall(rb"HTTP/1.1 (\d+)", rest_of(line)) == [b"200"] * 4
    assert logged(server) == []


def test_a_body_after_such_a_wish_is_read(start_process: START) -> None:
    """As Java's HttpClient sends it by itself."""
    server = start_process()
    body = json.dumps({"text": "今天气很[MASK]。 Upgrade:"}).encode()
    head = (
        b"POST /predict HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Content-Length: %d\r\nHost: 127.0.0.1\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
        b"Upgrade: h2c\r\nUser-Agent: Java-http-client/21\r\n\r\n"
    )
    whole = head % len(body) + body
    for size in (len(whole), 1, 40, len(whole) - len(body), len(whole) - 10):
        with line_to(server) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(whole), size):
                line.sendall(whole[start : start + size])
                time.sleep(0.002)
            status, _, answer = answer_on(line)
            assert status == 200
            assert len(json.loads(answer)["results"]) == 5
            line.sendall(LIVE)
            assert answer_on(line)[0] == 200
    chunked = head.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    with line_to(server, chunked + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n") as line:
        assert answer_on(line)[0] == 200
    with line_to(server, head % 9_999_999 + body) as line:
        assert answer_on(line)[0] == 413


def test_requests_that_wait_for_the_one_before_are_limited(start_process: START) -> None:
    server = start_process("--streams=1")
    with line_to(server, SLOW + b"GET /nope HTTP/1.1\r\n\r\n" * 200) as line:
        statuses = re.findall(rb"HTTP/1.1 (\d+)", rest_of(line))
    assert statuses == [b"200", *[b"404"] * PIPELINE_LIMIT, b"503"]
    assert failures(server) == {"not_found": PIPELINE_LIMIT, "queue_full": 1}


def test_a_client_that_leaves_while_more_of_its_requests_wait_is_no_error(
    start_process: START,
) -> None:
    server = start_process()
    for more in (LIVE, LIVE[:-4], b"hello\r\n\r\n"):
        with line_to(server, SLOW + more):
            time.sleep(0.1)
    time.sleep(1)
    assert {status for _, path, status, _ in logged(server) if path == "/predict"} <= {200, 499}


@pytest.mark.parametrize("path", [b"/predict", b"/nope", b"/v2/models/fake/infer"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"])
def test_who_sends_all_of_a_body_before_reading_sees_the_answer(
    start_process: START, path: bytes, framing: bytes
) -> None:
    server = start_process()
    piece = b" " * 50_000
    with line_to(server, b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (path, framing)) as line:
        for _ in range(100):
            line.sendall(b"c350\r\n%s\r\n" % piece if b"chunked" in framing else piece)
            time.sleep(0.001)
        status, _, _ = answer_on(line)
        assert status == (404 if path == b"/nope" else 413)
        assert rest_of(line) == b""
    with line_to(server, LIVE) as line:
        assert answer_on(line)[0] == 200


def test_who_neither_reads_nor_closes_is_left_in_time(start_process: START) -> None:
    server = start_process("--head-deadline=0.4", "--deadline=1")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
    for pause in (0.02, 0.7):  # it goes on sending, or is quiet for longer than a head may take
        with line_to(server, head) as line:
            began = time.monotonic()
            assert not flood(line, b"x", 1)
            while not flood(line, b"x", 1):
                time.sleep(pause)
                assert time.monotonic() - began < PATIENCE
