"""What a server's metrics tell of its stages, and what others answer at the same path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tiankong.bench.load.target import Target
from tiankong.bench.serving.stage_times import mean_ms, stage_times
from tiankong.server.http.metrics import Collected, Metrics
from tiankong.toolkit.runs.stages import STAGES

SECONDS = {stage: 0.001 * (place + 1) for place, stage in enumerate(STAGES)}


@pytest.fixture
def answering() -> Iterator[Callable[[bytes, int], Target]]:
    """Return a function that starts a server which answers everything with one body."""
    servers = []

    def start(body: bytes, status: int = 200) -> Target:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return Target(f"http://127.0.0.1:{servers[-1].server_port}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def counted(requests: int) -> Metrics:
    metrics = Metrics(30.0)
    for _ in range(requests):
        metrics.requested("/predict", 200, 0.1, SECONDS)
    return metrics


def test_a_servers_own_metrics(answering: Callable[..., Target]) -> None:
    body, _ = counted(3).exposition("")
    told = stage_times(answering(body))
    assert tuple(told) == STAGES
    assert told["queue"] == (pytest.approx(3 * SECONDS["queue"]), 3)


def test_replicas_are_added_up(answering: Callable[..., Target]) -> None:
    parts = {name: list(counted(n).registry.collect()) for name, n in (("a", 1), ("b", 4))}
    body, _ = Metrics(30.0).exposition("", Collected(parts))
    assert stage_times(answering(body))["engine"] == (pytest.approx(5 * SECONDS["engine"]), 5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not found", 404),
        (b"<html>not metrics</html>", 200),
        (b"\xff\xfe", 200),
        (b'tiankong_stage_seconds_sum{stage="read"} 1.0\n', 200),
        (b"# TYPE up gauge\nup 1\n", 200),
    ],
)
def test_what_another_server_says_is_nothing(
    answering: Callable[..., Target], body: bytes, status: int
) -> None:
    assert stage_times(answering(body, status)) == {}


def test_nobody_there_says_nothing() -> None:
    assert stage_times(Target("http://127.0.0.1:9")) == {}


def test_the_mean_is_that_of_the_requests_between_two_moments() -> None:
    before = dict.fromkeys(STAGES, (10.0, 100.0))
    after = dict.fromkeys(STAGES, (11.0, 350.0))
    assert mean_ms(before, after) == dict.fromkeys(STAGES, 4.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, dict.fromkeys(STAGES, (1.0, 1.0))),
        (dict.fromkeys(STAGES, (1.0, 5.0)), {}),
        (dict.fromkeys(STAGES, (1.0, 5.0)), dict.fromkeys(STAGES, (1.0, 5.0))),
        (dict.fromkeys(STAGES, (9.0, 5.0)), dict.fromkeys(STAGES, (1.0, 9.0))),
    ],
)
def test_a_mean_that_is_not_known_is_left_out(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> None:
    assert mean_ms(before, after) == {}
