"""What our own series expose is what prometheus-client's own metrics would."""

from __future__ import annotations

import threading
from threading import Lock

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.exposition import choose_encoder

from tiankong.server.http.metrics import Metrics
from tiankong.server.http.series import Amounts, Buckets, Series, Sum

BOUNDS = (0.0025, 0.5, 1.0, 30.0)
VALUES = (0.0, 0.0025, 0.0026, 0.5, 29.9, 30.0, 31.0, 1e9)
ODD = 'a "quoted" \\ path\n of 空'  # what the formats escape


def by_the_library() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("t_requests", "Requests.", ("route", "status"), registry=registry)
    Counter("t_unasked", "Nobody.", ("route",), registry=registry)
    single = Counter("t_single", "One.", registry=registry)
    histogram = Histogram("t_seconds", "Time.", ("route",), registry=registry, buckets=BOUNDS)
    plain = Histogram("t_plain", "Of no label.", registry=registry, buckets=BOUNDS)
    summary = Summary("t_stage", "Stage.", ("stage",), registry=registry)
    for value in VALUES:
        counter.labels("/predict", "200").inc()
        counter.labels(ODD, "404").inc(value)
        single.inc(value)
        histogram.labels("/predict").observe(value)
        plain.observe(value)
        summary.labels("read").observe(value)
    return registry


def by_ours() -> CollectorRegistry:
    registry, lock = CollectorRegistry(), Lock()
    counter = Series(Sum, "t_requests", "Requests.", lock, ("route", "status"))
    unasked = Series(Sum, "t_unasked", "Nobody.", lock, ("route",))
    single = Series(Sum, "t_single", "One.", lock)
    histogram = Series(Buckets, "t_seconds", "Time.", lock, ("route",), BOUNDS)
    plain = Series(Buckets, "t_plain", "Of no label.", lock, (), BOUNDS)
    summary = Series(Amounts, "t_stage", "Stage.", lock, ("stage",))
    for series in (counter, unasked, single, histogram, plain, summary):
        registry.register(series)
    for value in VALUES:
        counter.of("/predict", "200").add()
        counter.of(ODD, "404").add(value)
        single.of().add(value)
        histogram.of("/predict").add(value)
        plain.of().add(value)
        summary.of("read").add(value)
    return registry


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_exposition_is_the_librarys(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1234.5)  # when each series was made
    encode, _ = choose_encoder(accept)
    theirs, ours = (encode(registry).decode() for registry in (by_the_library(), by_ours()))
    assert ours == theirs
    assert "t_seconds_created" in ours


def test_two_metrics_of_one_name_are_refused() -> None:
    registry, lock = CollectorRegistry(), Lock()
    registry.register(Series(Sum, "t_requests", "Requests.", lock))
    with pytest.raises(ValueError, match="Duplicated"):
        Counter("t_requests", "Requests.", registry=registry)


def test_nothing_is_lost_between_threads() -> None:
    metrics = Metrics(30.0)

    def count() -> None:
        for _ in range(2000):
            metrics.requested("/predict", 200, 0.1, {"read": 1.0})
            metrics.inferred(0.1, [0.5, 0.5], text=7, padding=1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for line in metrics.exposition("")[0].decode().splitlines():
            if line.startswith("tiankong_stage_seconds_sum"):
                assert float(line.rpartition(" ")[2]) % 1 == 0  # whole events only
    for thread in threads:
        thread.join()
    text = metrics.exposition("")[0].decode()
    for line in (
        'tiankong_requests_total{route="/predict",status="200"} 8000.0',
        'tiankong_request_seconds_count{route="/predict"} 8000.0',
        'tiankong_stage_seconds_sum{stage="read"} 8000.0',
        'tiankong_stage_seconds_count{stage="write"} 8000.0',
        "tiankong_inference_seconds_count 8000.0",
        "tiankong_batch_sentences_sum 16000.0",
        "tiankong_queue_seconds_sum 8000.0",
        'tiankong_tokens_total{kind="text"} 56000.0',
        'tiankong_tokens_total{kind="padding"} 8000.0',
    ):
        assert line in text.splitlines()
