from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tiankong.bench.generator import Load, Samples, generate
from tiankong.toolkit.errors import InvalidMeasurementError

RIGHT = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005), ("前", 0.001)]
SENTENCES = ["疑是地[MASK]霜。", "天气真[MASK]。"]


class Handler(BaseHTTPRequestHandler):
    """Answers as its ``mood`` says, after 5 ms."""

    protocol_version = "HTTP/1.1"
    mood = "right"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["text"] in SENTENCES
        time.sleep(0.005)
        if self.mood == "drop":
            self.close_connection = True
            return
        top = RIGHT[:5]
        if self.mood == "wrong" or (self.mood == "mixed" and body["text"] == SENTENCES[1]):
            top = [RIGHT[1], RIGHT[0], *RIGHT[2:5]]
        results = [{"token": token, "score": score} for token, score in top]
        answer = json.dumps({"results": results}).encode()
        if self.mood == "garbage":
            answer = b"<html>"
        self.send_response(500 if self.mood == "error" else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(mood: str) -> Iterator[str]:
    handler = type("Moody", (Handler,), {"mood": mood})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def measured(mood: str, edges: list[int] | None = None) -> Samples:
    edges = [] if edges is None else edges
    with listening(mood) as url:
        load = Load(url, 2, 0.5, 0.2, SENTENCES, [RIGHT, RIGHT])
        return generate(load, edges.append, edges.append)


def test_right_answers_give_raw_latencies() -> None:
    edges: list[int] = []
    samples = measured("right", edges)
    assert len(edges) == 2
    assert edges[0] == edges[1] > 0
    assert samples.seconds == pytest.approx(0.5, abs=0.2)
    assert 5 < len(samples.latencies_ms) <= 2 * samples.seconds / 0.005 + 2
    assert min(samples.latencies_ms) >= 5
    assert len(set(samples.latencies_ms)) > 3  # not rounded as Locust's own statistics are
    assert (samples.wrong, samples.failures, samples.examples) == (0, {}, [])


@pytest.mark.parametrize("mood", ["wrong", "garbage"])
def test_wrong_answers_are_no_successes(mood: str) -> None:
    samples = measured(mood)
    assert samples.latencies_ms == []
    assert samples.wrong > 5
    assert samples.failures == {}
    assert 1 <= len(samples.examples) <= 3
    assert any(sentence in samples.examples[0] for sentence in SENTENCES)


def test_right_and_wrong_are_told_apart_sentence_by_sentence() -> None:
    samples = measured("mixed")
    assert samples.wrong > 2
    assert abs(samples.wrong - len(samples.latencies_ms)) <= 3
    assert all(SENTENCES[1] in example for example in samples.examples)


def test_errors_of_the_server_are_failures() -> None:
    samples = measured("error")
    assert samples.latencies_ms == []
    assert samples.wrong == 0
    assert list(samples.failures) == ["HTTP 500"]
    assert samples.failures["HTTP 500"] > 5


def test_dropped_connections_are_failures() -> None:
    samples = measured("drop")
    assert samples.latencies_ms == []
    assert samples.wrong == 0
    assert sum(samples.failures.values()) > 5
    assert not any(reason.startswith("HTTP 2") for reason in samples.failures)


def test_a_generator_that_cannot_start_is_an_invalid_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tiankong.bench.generator.LOCUSTFILE", "no/such/locustfile.py")
    load = Load("http://127.0.0.1:9", 1, 0.5, 0, SENTENCES, [])
    with pytest.raises(InvalidMeasurementError, match=r"ended early: .*locustfile"):
        generate(load, lambda _: None, lambda _: None)
