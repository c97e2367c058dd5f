from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from stand_in import StandIn, standing_in

from tiankong.bench.load.generator import (
    ALONE,
    Generators,
    Samples,
    connections,
    generate,
    work_for,
)
from tiankong.bench.load.job import Job
from tiankong.bench.load.target import Target
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.processes import free_port

ROOT = Path(__file__).parents[3]
RIGHT = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005), ("前", 0.001)]
SENTENCES = ["疑是地[MASK]霜。", "天气真[MASK]。"]


class Handler(BaseHTTPRequestHandler):
    """Answers after 5 ms, right or wrong as its ``mood`` says."""

    protocol_version = "HTTP/1.1"
    mood = "right"
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = body["texts"] if self.path == "/predict/batch" else [body["text"]]
        assert set(texts) <= set(SENTENCES)
        self.server.ended.wait({"hang": 30, "late": 1.0}.get(self.mood, 0.005))
        if self.mood == "drop":
            self.close_connection = True
            return
        bodies = [{"results": self.ranked(text)} for text in texts]
        data = {"predictions": bodies} if self.path == "/predict/batch" else bodies[0]
        answer = b"<html>" if self.mood == "garbage" else json.dumps(data).encode()
        self.send_response(500 if self.mood == "error" else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def ranked(self, text: str) -> list[dict[str, object]]:
        top = RIGHT[:5]
        if self.mood == "wrong" or (self.mood == "mixed" and text == SENTENCES[1]):
            top = [RIGHT[1], RIGHT[0], *RIGHT[2:5]]
        return [{"token": token, "score": score} for token, score in top]

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(mood: str) -> Iterator[str]:
    handler = type("Moody", (Handler,), {"mood": mood})
    with standing_in(handler) as server:
        yield server.url


def job(url: str, **more: Any) -> Job:
    options = {"users": 2, "seconds": 0.5, "warmup_seconds": 0.2} | more
    return Job([Target(url)], SENTENCES, [RIGHT, RIGHT], **options)


def measured(
    mood: str, edges: list[int] | None = None, by: Generators = ALONE, **more: Any
) -> Samples:
    edges = [] if edges is None else edges
    with listening(mood) as url:
        return generate(job(url, **more), edges.append, edges.append, by)


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
    monkeypatch.setattr("tiankong.bench.load.generator.LOCUSTFILE", "no/such/locustfile.py")
    with pytest.raises(InvalidMeasurementError, match=r"ended early: .*locustfile"):
        generate(job("http://127.0.0.1:9"), lambda _: None, lambda _: None)


def test_completion_times_lie_in_the_window_and_in_order() -> None:
    samples = measured("right")
    assert len(samples.ends_ms) == len(samples.latencies_ms)
    assert list(samples.ends_ms) == sorted(samples.ends_ms)
    assert 0 <= samples.ends_ms[0] <= samples.ends_ms[-1] <= samples.seconds * 1000
    assert samples.late_ms == []
    assert samples.core_percent > 0
    assert samples.generators == 1


def test_an_open_loop_asks_at_its_own_rate_and_times_from_the_intended_start() -> None:
    samples = measured("right", rate=60.0, users=connections(60.0), seconds=2.0)
    assert 70 < len(samples.latencies_ms) < 180  # Poisson, mean 120: four deviations either way
    assert len(samples.late_ms) == len(samples.latencies_ms)
    pairs = zip(samples.late_ms, samples.latencies_ms, strict=True)
    assert all(0 <= late < taken for late, taken in pairs)


def test_an_open_loop_counts_what_never_came_as_failures() -> None:
    samples = measured("hang", rate=20.0, users=connections(20.0), seconds=1.0, drain_seconds=0.3)
    assert samples.latencies_ms == []
    assert samples.failures["unfinished"] > 4


def test_a_closed_loop_counts_what_was_never_answered() -> None:
    samples = measured("hang", users=3, seconds=0.5, deadline_seconds=1.0)
    assert samples.latencies_ms == []
    assert samples.failures == {"unanswered": 3}
    assert samples.seconds < 1.0  # the wait for answers is not the window's


def test_a_closed_loop_waits_for_answers_that_come_late_and_counts_them_in_no_window() -> None:
    samples = measured("late", users=3, seconds=0.3, warmup_seconds=0.0, deadline_seconds=20.0)
    assert (samples.latencies_ms, samples.failures) == ([], {})


def test_batches_go_to_their_own_path_and_every_answer_is_checked() -> None:
    samples = measured("right", batch=3)
    assert len(samples.latencies_ms) > 5
    assert (samples.wrong, samples.failures) == (0, {})
    assert measured("mixed", batch=3).latencies_ms == []


@pytest.mark.parametrize("more", [{}, {"rate": 40.0}])
def test_several_processes_are_merged_into_one(more: dict[str, Any]) -> None:
    samples = measured("right", by=Generators(processes=2), users=4, seconds=1.0, **more)
    assert samples.generators == 2
    assert samples.wrong == 0
    assert samples.failures == {}
    assert list(samples.ends_ms) == sorted(samples.ends_ms)
    assert len(samples.ends_ms) == len(samples.latencies_ms) > 15


SLOW_START = """
import gevent
from locust import events

events.init.add_listener(lambda **_: gevent.sleep(0.5))
from tiankong.bench.locustfile import Reader
"""


def test_a_generator_that_starts_slowly_does_not_miss_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_START, encoding="utf-8")
    monkeypatch.setattr("tiankong.bench.load.generator.LOCUSTFILE", tmp_path / "slow.py")
    samples = measured("right", by=Generators(processes=2), users=4, seconds=0.5)
    assert samples.generators == 2
    assert len(samples.latencies_ms) > 5


@contextmanager
def workers(port: int, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "tiankong", "worker", "--master", f"127.0.0.1:{port}"]
    started = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        assert {process.wait(20) for process in started} == {130}


def test_two_workers_over_the_network_are_merged_job_after_job() -> None:
    port = free_port()
    by = Generators(workers=2, bind=f"127.0.0.1:{port}")
    with workers(port, 2):
        for rate in (None, 50.0):
            samples = measured("right", by=by, users=4, rate=rate, seconds=1.0)
            assert samples.generators == 2
            assert samples.wrong == 0
            assert samples.failures == {}
            assert len(samples.latencies_ms) > 15


@pytest.mark.parametrize(("mood", "failed"), [("right", "0(0.00%)"), ("error", "(100.00%)")])
def test_the_locust_file_can_be_used_alone(
    mood: str, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SENTENCES", read_gold().texts())
    with listening(mood) as url:
        done = subprocess.run(
            [sys.executable, "-m", "locust", "-f", "bench/locustfile.py", "--headless",
             "--host", url, "-u", "2", "-t", "2", "--only-summary"],
            capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        )  # fmt: skip
    row = next(line for line in done.stderr.splitlines() if "/predict" in line)
    assert int(row.split()[2]) > 10
    assert failed in row


@pytest.mark.parametrize("bind", ["nowhere", "host:", ":80", "host:0", "host:99999"])
def test_an_address_that_is_none_is_said(bind: str) -> None:
    with pytest.raises(UnusableInputError, match="is not HOST:PORT"):
        work_for(bind, 1)


def test_workers_that_never_come_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiankong.bench.load.generator.WORKERS_WAIT_SECONDS", 1)
    by = Generators(workers=1, bind=f"127.0.0.1:{free_port()}")
    with pytest.raises(InvalidMeasurementError, match="Gave up waiting for workers"):
        generate(job("http://127.0.0.1:9"), lambda _: None, lambda _: None, by)
