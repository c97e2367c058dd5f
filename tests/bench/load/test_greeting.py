"""Who is asked before anything is measured, with real servers that are not what was meant."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from secured import certificate, terminated
from stand_in import standing_in

from tiankong.bench.load import greeting
from tiankong.bench.load.generator import generate
from tiankong.bench.load.greeting import greet
from tiankong.bench.load.job import Job
from tiankong.bench.load.target import OPEN, Access, Target, read_access
from tiankong.toolkit.engines.predictor import Ranked
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.processes import free_port

TEXTS = ["疑是地[MASK]霜。", "天气真[MASK]。"]
RIGHT = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005)]
RANKING = [Ranked(token, score) for token, score in RIGHT]
KEY = "0123456789abcdef"
RESULTS = {"results": [{"token": token, "score": score} for token, score in RIGHT]}


class Handler(BaseHTTPRequestHandler):
    """Answers as its class attributes say; with a key, only to those who send it."""

    protocol_version = "HTTP/1.1"
    status, body, location, key, asked = 200, b"", "", "", 0

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        refused = self.key and self.headers["Authorization"] != f"Bearer {self.key}"
        self.send_response(401 if refused else self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(data: object = None, **mood: object) -> Iterator[str]:
    body = json.dumps(RESULTS if data is None else data).encode()
    handler = type("Moody", (Handler,), {"body": body} | mood)
    with standing_in(handler) as server:
        yield server.url
    handler_asked.append(handler.asked)  # type: ignore[attr-defined]


handler_asked: list[int] = []


def refused(target: Target, variant: str = "", *, batch: bool = False) -> str:
    with pytest.raises(UnusableInputError) as caught:
        greet(target, TEXTS, variant, batch=batch)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_answers_is_known() -> None:
    with listening(RESULTS | {"variant": "onnx-int8"}) as url:
        met = greet(Target(url), TEXTS, "onnx-int8")
    assert (met.variant, list(met.answers)) == ("onnx-int8", TEXTS)
    met.require("onnx-int8", dict.fromkeys(TEXTS, RANKING))


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert refused(Target(url)) == f"nobody answers at {url}: Connection refused"
    assert "nobody answers at http://nowhere.invalid" in refused(Target("http://nowhere.invalid"))


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (401, "wants a key (HTTP 401): give it with --api-key-file"),
        (403, "wants a key (HTTP 403)"),
        (404, "has no /predict (HTTP 404)"),
        (405, "has no /predict (HTTP 405)"),
        (500, "/predict answers HTTP 500: planted"),
        (503, "/predict answers HTTP 503: planted"),
    ],
)
def test_a_status_that_is_none_of_an_answer(status: int, part: str) -> None:
    with listening({"detail": "planted"}, status=status) as url:
        assert part in refused(Target(url))
    assert handler_asked[-1] == 1


def test_a_key_that_is_not_the_servers() -> None:
    wrong = Access((("Authorization", "Bearer another"),))
    with listening(key=KEY) as url:
        said = refused(Target(url, wrong))
        assert greet(Target(url, Access((("Authorization", f"Bearer {KEY}"),))), TEXTS)
    assert "does not take the key that was sent" in said
    assert "another" not in said


def test_a_key_goes_to_no_other_server() -> None:
    with listening() as elsewhere, listening(status=308, location=elsewhere) as url:
        said = refused(Target(url, Access((("Authorization", f"Bearer {KEY}"),))))
    assert f"moved (HTTP 308): give the URL {elsewhere}" in said
    assert handler_asked[-2:] == [1, 0]


@pytest.mark.parametrize(
    "data", ["<html>", [], {}, {"results": []}, {"results": [{"token": 1, "score": 1}]},
             {"results": [{"token": "上"}]}, {"results": {"上": 1}}]
)  # fmt: skip
def test_an_answer_that_is_none(data: object) -> None:
    with listening(data) as url:
        assert "does not answer as a fill-mask server should" in refused(Target(url))


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(greeting, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "gives no answer within 0 s" in refused(
            Target(f"http://127.0.0.1:{silent.getsockname()[1]}")
        )


def test_a_server_that_speaks_no_http() -> None:
    import socket

    def chatter() -> None:
        client, _ = silent.accept()
        client.recv(65536)
        client.sendall(b"220 mail.example ESMTP\r\n")
        client.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=chatter, daemon=True).start()
        said = refused(Target(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert "does not speak HTTP as it should" in said


def test_another_variant_and_other_answers() -> None:
    with listening(RESULTS | {"variant": "onnx-fp32"}) as url:
        assert "serves onnx-fp32, not onnx-int8" in refused(Target(url), "onnx-int8")
        met = greet(Target(url), TEXTS)
    other = [Ranked("下", 0.9), Ranked("上", 0.05), *RANKING[2:]]
    with pytest.raises(UnusableInputError, match="does not answer as onnx-fp32 does"):
        met.require("onnx-fp32", dict.fromkeys(TEXTS, other))


def test_a_model_of_another_size_that_answers_alike() -> None:
    with listening(RESULTS | {"variant": "a", "model": {"name": "grown", "parameters": 99}}) as url:
        met = greet(Target(url), TEXTS)
    right = dict.fromkeys(TEXTS, RANKING)
    met.require("a", right, 99)
    met.require("a", right)
    with pytest.raises(UnusableInputError, match="of another model: grown has 99 parameters, not"):
        met.require("a", right, 7)


def test_several_at_once_are_asked_where_a_plan_does() -> None:
    with listening() as url:  # answers a batch as one sentence
        greet(Target(url), TEXTS)
        assert "/predict/batch does not answer" in refused(Target(url), batch=True)


def test_our_own_secured_server(tmp_path: Path) -> None:
    """Key and TLS: refused without, measured with; an https URL of another name is refused."""
    paths = certificate(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    with listening(key=KEY) as url, terminated(int(url.rpartition(":")[2]), paths) as port:
        secured = f"https://127.0.0.1:{port}"
        assert "its certificate is not trusted (self-signed" in refused(OPEN.to(secured))
        assert "wants a key" in refused(read_access([], None, paths[0], insecure=False).to(secured))
        named = read_access([], keys, paths[0], insecure=False)
        wrong_name = named.to(f"https://localhost:{port}")
        assert "not trusted" in refused(wrong_name)
        for access in (named, read_access([], keys, None, insecure=True)):
            target = access.to(secured)
            assert greet(target, TEXTS).answers
            job = Job([target], TEXTS, [RANKING, RANKING], users=2, seconds=0.5, warmup_seconds=0.2)
            samples = generate(job, lambda _: None, lambda _: None)
            assert (samples.failures, samples.wrong) == ({}, 0)
            assert len(samples.latencies_ms) > 5
        job = Job([wrong_name], TEXTS, users=1, seconds=0.3, warmup_seconds=0.1)
        samples = generate(job, lambda _: None, lambda _: None)
        assert len(samples.latencies_ms) == 0
        assert "SSLCertVerificationError" in samples.failures


def test_plain_http_is_no_tls() -> None:
    with listening() as url:
        assert "does not speak TLS as it should" in refused(Target(url.replace("http", "https")))
