from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tiankong.server.http.metrics import Collected, Metrics
from tiankong.toolkit.runs.stages import STAGES

TEXT = "今天气很[MASK]。"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(client: TestClient) -> Samples:
    """Return all samples, as read by Prometheus' own parser."""
    response = client.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"tiankong_{name}", frozenset(labels.items())), 0.0)


def test_requests_by_route_and_status(client: TestClient) -> None:
    before = read(client)
    client.post("/predict", json={"text": TEXT})
    client.post("/predict", json={"text": TEXT})
    client.post("/predict", json={"text": "今天"})
    client.get("/nowhere/at/all")
    after = read(client)
    assert value(after, "requests_total", route="/predict", status="200") == 2
    assert value(after, "requests_total", route="/predict", status="400") == 1
    assert value(after, "requests_total", route="other", status="404") == 1
    assert value(after, "request_seconds_count", route="/predict") == 3
    assert value(after, "failures_total", reason="bad_request") == 1
    assert value(after, "failures_total", reason="not_found") == 1
    assert value(before, "requests_total", route="/predict", status="200") == 0


def test_sentences_batches_and_tokens(open_client: Callable[..., TestClient]) -> None:
    client = open_client(max_batch=4)
    before = read(client)  # the warm-up is an inference, too
    texts = ["今[MASK]", "今天[MASK]", "今天气[MASK]"]
    client.post("/predict/batch", json={"texts": texts})
    after = read(client)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("batch_sentences_sum") == 3
    assert grown("queue_seconds_count") == 3
    assert grown("inference_seconds_count") == grown("batch_sentences_count") >= 1
    assert grown("tokens_total", kind="text") == 4 + 5 + 6
    assert 0 <= grown("tokens_total", kind="padding") <= 3
    assert value(after, "queue_length") == value(after, "streams_busy") == 0


def stage_seconds(client: TestClient) -> dict[str, float]:
    """Return the stages' sums; each stage counts every answered request once."""
    samples = read(client)
    counts = {stage: value(samples, "stage_seconds_count", stage=stage) for stage in STAGES}
    assert set(counts.values()) == {
        value(samples, "requests_total", route="/predict", status="200")
    }
    return {stage: value(samples, "stage_seconds_sum", stage=stage) for stage in STAGES}


def test_the_stages_are_the_whole_time_of_a_request(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client = open_client()
    for text in (TEXT, "今天[MASK]"):
        client.post("/predict", json={"text": text})
    client.post("/predict", json={"text": "今天"})  # refused: no time of an answer
    samples = read(client)
    answered = stage_seconds(client)
    assert all(seconds > 0 for seconds in answered.values())
    refused = value(samples, "requests_total", route="/predict", status="400")
    assert refused == 1
    assert sum(answered.values()) < value(samples, "request_seconds_sum", route="/predict")


def test_time_is_counted_in_the_stage_where_it_passes(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    engine.delay = 0.2
    client = open_client(max_batch=1)
    client.post("/predict", json={"text": "slow[MASK]"})
    alone = stage_seconds(client)
    assert alone["engine"] >= 0.2 > sum(alone.values()) - alone["engine"]
    client.post("/predict/batch", json={"texts": ["slow[MASK]"] * 3})
    samples = read(client)
    waited = value(samples, "stage_seconds_sum", stage="queue") - alone["queue"]
    computed = value(samples, "stage_seconds_sum", stage="engine") - alone["engine"]
    assert waited >= 0.4  # for the two before it
    assert 0.2 <= computed < 0.4


def test_a_cached_answer_waits_for_nothing(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    engine.delay = 0.1
    client = open_client(cache=8)
    client.post("/predict", json={"text": "slow[MASK]"})
    first = stage_seconds(client)
    client.post("/predict", json={"text": "slow[MASK]"})
    second = stage_seconds(client)
    assert [second[stage] for stage in ("queue", "engine", "rank")] == [
        first[stage] for stage in ("queue", "engine", "rank")
    ]
    assert second["write"] > first["write"]


def test_what_is_served_is_told(open_client: Callable[..., TestClient]) -> None:
    text = open_client(streams=3, max_batch=2).get("/metrics").text
    assert 'streams="0"' not in open_client(streams=0).get("/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith("tiankong_served_info")]
    assert 'variant="fake"' in line
    assert 'streams="3"' in line
    assert 'max_batch="2"' in line
    assert "process_resident_memory_bytes" in text


def test_a_probe_that_is_not_ready_is_no_failed_request(client: TestClient) -> None:
    client.app.state.service.drain()  # type: ignore[attr-defined]
    assert client.get("/health/ready").status_code == 503
    samples = read(client)
    assert value(samples, "requests_total", route="/health/ready", status="503") == 1
    assert "tiankong_failures_total{" not in client.get("/metrics").text
    assert value(samples, "failures_total", reason="not_ready") == 0


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "openmetrics")],
)
def test_the_format_that_is_asked_for(client: TestClient, accept: str, media_type: str) -> None:
    response = client.get("/metrics", headers={"Accept": accept})
    assert media_type in response.headers["content-type"]


def test_what_replicas_counted_is_told_together_each_by_its_name() -> None:
    parts = {}
    for name, count in (("r1", 2), ("r2", 3)):
        metrics = Metrics(30.0)
        metrics.failures.labels("deadline").inc(count)
        parts[name] = list(metrics.registry.collect())
    for accept in ("", "application/openmetrics-text"):
        content, _ = Metrics(30.0).exposition(accept, Collected(parts))
        lines = content.decode().splitlines()
        assert 'tiankong_failures_total{reason="deadline",replica="r1"} 2.0' in lines
        assert 'tiankong_failures_total{reason="deadline",replica="r2"} 3.0' in lines
        kinds = [line for line in lines if line.startswith("# TYPE tiankong_failures")]
        assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize(
    ("deadline", "last"),
    [
        (30.0, [10.0, 15.0, 20.0, 30.0, 31.0]),
        (2.0, [2.0, 2.5, 3.0, 5.0, 10.0]),
        (7200.0, [7200.0, 7201.0]),
    ],
)
def test_histograms_reach_the_deadline(
    open_client: Callable[..., TestClient], deadline: float, last: list[float]
) -> None:
    text = open_client(deadline=deadline).get("/metrics").text
    for name in ("request_seconds", "queue_seconds", "inference_seconds"):
        bounds = [
            float(bound)
            for line in text.splitlines()
            if line.startswith(f"tiankong_{name}_bucket")
            for bound in re.findall(r'le="([0-9.]+)"', line)
        ]
        assert bounds == sorted(bounds)
        if name != "request_seconds":  # no request was answered yet
            assert bounds[-len(last) :] == last
