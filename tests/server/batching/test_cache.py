from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tiankong.server.settings import Settings

TEXT = "今天气很[MASK]。"


def test_the_same_question_is_inferred_once(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client = open_client(cache=10)
    before = engine.asked
    answers = [client.post("/predict", json={"text": TEXT}).json() for _ in range(3)]
    assert engine.asked == before + 1
    assert answers[0] == answers[1] == answers[2]
    assert 'tiankong_cache_total{result="hit"} 2.0' in client.get("/metrics").text


def test_another_question_is_another(open_client: Callable[..., TestClient], engine: Any) -> None:
    client = open_client(cache=10)
    before = engine.asked
    for more in ({}, {"top_k": 3}, {"candidates": ["上"]}, {"candidates": ["下"]}):
        client.post("/predict", json={"text": TEXT, **more})
    assert engine.asked == before + 4


def test_a_batch_infers_what_is_unknown_and_keeps_the_order(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client, plain = open_client(cache=10), open_client()
    texts = ["今[MASK]", TEXT, "今天[MASK]", "今[MASK]"]
    client.post("/predict", json={"text": TEXT})
    before = engine.asked
    body = client.post("/predict/batch", json={"texts": texts}).json()
    assert engine.asked == before + 3
    assert body == plain.post("/predict/batch", json={"texts": texts}).json()


def test_the_oldest_is_forgotten(open_client: Callable[..., TestClient], engine: Any) -> None:
    client = open_client(cache=2)
    for text in (TEXT, "今[MASK]", "天[MASK]"):
        client.post("/predict", json={"text": text})
    before = engine.asked
    client.post("/predict", json={"text": TEXT})
    assert engine.asked == before + 1


def test_failures_are_not_remembered(open_client: Callable[..., TestClient], engine: Any) -> None:
    client = open_client(cache=10)
    before = engine.asked
    for _ in range(2):
        assert client.post("/predict", json={"text": "boom[MASK]"}).status_code == 500
    assert engine.asked == before + 2


def test_it_is_off_by_default(
    open_client: Callable[..., TestClient], engine: Any, tmp_path: Any
) -> None:
    assert Settings(tmp_path).cache == 0
    client = open_client()
    before = engine.asked
    for _ in range(2):
        client.post("/predict", json={"text": TEXT})
    assert engine.asked == before + 2


@pytest.mark.parametrize("cache", [-1])
def test_no_negative_room(tmp_path: Any, cache: int) -> None:
    with pytest.raises(Exception, match="cache must not be negative"):
        Settings(tmp_path, cache=cache)
