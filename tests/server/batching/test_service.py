"""When a service is ready, and the settings it says are in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tiankong.toolkit.engines.kinds import Expected
from tiankong.toolkit.engines.predictor import About, Engine, Logits, Predictor
from tiankong.toolkit.engines.sharing import SharingEngine
from tiankong.toolkit.engines.text import Batch

TEXT = "今天气很[MASK]。"


def not_ready(client: TestClient) -> str:
    """Return why a server is not ready."""
    response = client.get("/health/ready")
    assert response.status_code == 503
    return str(response.json()["detail"])


def test_ready_only_after_a_warm_up(open_client: Callable[..., TestClient], engine: Any) -> None:
    client = open_client()
    assert engine.asked == 1
    client.app.state.service.not_ready = "the server is warming up"  # type: ignore[attr-defined]
    assert not_ready(client) == "the server is warming up"
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("word", ["boom", "nan"])
def test_a_failed_warm_up_is_never_ready(
    open_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr("tiankong.server.batching.service.WARM_UP", f"{word}[MASK]")
    client = open_client()
    assert "the warm-up failed" in not_ready(client)


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        (lambda scores: scores, True),
        (lambda scores: {token: score + 0.04 for token, score in scores.items()}, True),
        (lambda scores: {token: score - 0.06 for token, score in scores.items()}, False),
        (lambda scores: dict([*list(scores.items())[1:], ("霜", 0.9)]), False),
    ],
)
def test_ready_only_if_the_answer_is_what_the_gate_saw(
    open_client: Callable[..., TestClient],
    predictor: Predictor,
    change: Callable[[dict[str, float]], dict[str, float]],
    ready: bool,
) -> None:
    [[best]] = predictor.predict([TEXT])
    predictor.expected = Expected(TEXT, change({entry.token: entry.score for entry in best}))
    client = open_client()
    assert client.get("/health/ready").status_code == (200 if ready else 503)
    failure = client.app.state.service.failure  # type: ignore[attr-defined]
    assert ready == (failure == "")
    assert ready or "but the gate saw" in failure


class Padded(Engine):
    """Answers otherwise where there is padding."""

    def __init__(self, right: Engine) -> None:
        self._right = right

    def logits(self, batch: Batch) -> Logits:
        found = self._right.logits(batch)
        return found if batch.attention_mask.all() else found[:, ::-1]


def test_ready_only_if_every_engine_answers_as_the_gate_saw_it_in_company_too(
    open_client: Callable[..., TestClient], predictor: Predictor, engine: Engine
) -> None:
    [[best]] = predictor.predict([TEXT])
    predictor.expected = Expected(TEXT, {entry.token: entry.score for entry in best})
    predictor.engine = SharingEngine({1: engine, 2: engine})
    assert open_client().get("/health/ready").status_code == 200
    predictor.engine = SharingEngine({1: Padded(engine), 2: engine})  # alone it is the wider one
    client = open_client()
    assert client.get("/health/ready").status_code == 503
    assert "but the gate saw" in client.app.state.service.failure  # type: ignore[attr-defined]
    predictor.mates = "same length"
    assert open_client().get("/health/ready").status_code == 200


def test_one_stream_with_all_cores_computes_padding(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    engine.about = About(unpads=True, widths=[1, 2])
    for streams, unpads, padding in (1, False, 8), (2, True, 1024):
        found = open_client(streams=streams).get("/v2/models/fake").json()["parameters"]
        assert (found["unpads"], found["batch_padding"]) == (unpads, padding)
