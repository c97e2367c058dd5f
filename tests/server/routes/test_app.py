from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from tiankong.toolkit.engines.predictor import About, Predictor
from tiankong.toolkit.engines.text import LONG, TextEncoder

TEXT = "今天气很[MASK]。"


def problem(response: Any, status: int) -> str:
    """Return the detail of a response that must be a whole problem."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["type"] == "about:blank"
    assert document["error"] == document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return str(document["detail"])


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_mask_is_the_articles_shape(client: TestClient, predictor: Predictor) -> None:
    [[expected]] = predictor.predict([TEXT])
    response = client.post("/predict", json={"text": TEXT})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    rows = [{"token": best.token, "score": best.score} for best in expected]
    assert response.json() == {"results": rows, "masks": [rows], "variant": "fake"}
    assert len(rows) == 5


def test_top_k_candidates_and_several_masks(client: TestClient) -> None:
    body = client.post("/predict", json={"text": "[MASK]天[MASK]", "top_k": 2}).json()
    assert [len(mask) for mask in body["masks"]] == [2, 2]
    assert body["results"] == body["masks"][0]
    body = client.post("/predict", json={"text": TEXT, "candidates": ["下", "上", "下"]}).json()
    assert [best["token"] for best in body["results"]] == ["上", "下"]


def test_candidates_are_read_as_the_tokenizer_reads_them(client: TestClient) -> None:
    asked = {"text": TEXT, "candidates": ["SLOW", "slow", "下"]}
    body = client.post("/predict", json=asked).json()
    assert sorted(best["token"] for best in body["results"]) == ["slow", "下"]
    unknown = client.post("/predict", json={"text": TEXT, "candidates": ["\ufa30\u4e0a"]})
    assert "(U+FA30 U+4E0A) is not in the vocabulary" in problem(unknown, 422)


HALF = "\ud800"
INPUT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
HALVES: list[tuple[str, dict[str, Any], set[int]]] = [
    ("/predict", {"text": TEXT + HALF}, {400}),
    ("/predict", {"text": TEXT, "candidates": [HALF]}, {400}),
    ("/predict", {"text": TEXT, "top_k": HALF}, {400}),
    ("/predict", {"text": TEXT, HALF: HALF}, {400}),
    ("/predict/batch", {"texts": [TEXT, HALF]}, {400}),
    ("/v2/models/fake/infer", {"inputs": [INPUT | {"data": [HALF]}]}, {400}),
    ("/v2/models/fake/infer", {"inputs": [INPUT], "id": HALF}, {200, 400}),
    ("/v2/models/fake/infer", {"inputs": [INPUT], HALF: 1}, {200, 400}),
    ("/v2/models/fake/infer", {"inputs": [INPUT], "parameters": {HALF: HALF}}, {200, 400}),
    ("/v2/models/fake/infer", {"inputs": [INPUT], "parameters": {"candidates": HALF}}, {400, 422}),
    ("/v2/models/fake/infer", {"inputs": [INPUT], "outputs": [{"name": HALF}]}, {400, 422}),
    *(("/v2/models/fake/infer", {"inputs": [INPUT | {k: HALF}]}, {400, 422}) for k in INPUT),
]


@pytest.mark.parametrize(("path", "asked", "statuses"), HALVES)
def test_half_a_surrogate_anywhere_is_no_error_of_the_server(
    client: TestClient, path: str, asked: dict[str, Any], statuses: set[int]
) -> None:
    response = client.post(path, content=json.dumps(asked).encode())
    assert response.status_code in statuses, response.text
    if response.status_code != 200:
        problem(response, response.status_code)


@pytest.mark.parametrize(("max_batch", "at_once"), [(1, {1}), (8, {1, 3})])
def test_a_batch_is_answered_as_each_text_alone(
    open_client: Callable[..., TestClient], engine: Any, max_batch: int, at_once: set[int]
) -> None:
    client = open_client(max_batch=max_batch)
    texts = [TEXT, "[MASK]好", "今天气很大很大[MASK]。"]
    body = client.post("/predict/batch", json={"texts": texts, "top_k": 3}).json()
    alone = [client.post("/predict", json={"text": t, "top_k": 3}).json() for t in texts]
    assert body["variant"] == "fake"
    assert body["predictions"] == [
        {"results": one["results"], "masks": one["masks"]} for one in alone
    ]
    assert set(engine.sentences_at_once) == at_once


def test_neighbours_in_a_batch_keep_what_they_asked(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    """Questions with other numbers of tokens share a batch, other candidates do not."""
    client = open_client()
    asked = [{"text": TEXT, "top_k": 2}, {"text": "[MASK]好", "top_k": 7}, {"text": "坏[MASK]"},
             {"text": TEXT, "candidates": ["下", "上"]}]  # fmt: skip
    alone = [client.post("/predict", json=one).json() for one in asked]
    engine.sentences_at_once.clear()
    engine.gate.clear()
    with ThreadPoolExecutor(5) as callers:
        running = callers.submit(client.post, "/predict", json={"text": "slow[MASK]"})
        wait_until(lambda: engine.sentences_at_once == [1])
        waiting = [callers.submit(client.post, "/predict", json=one) for one in asked]
        wait_until(lambda: client.app.state.service.waiting == 4)  # type: ignore[attr-defined]
        engine.gate.set()
        assert running.result().status_code == 200
        assert [reply.result().json() for reply in waiting] == alone
    assert sorted(engine.sentences_at_once) == [1, 1, 3]


def test_the_first_bad_text_of_a_batch_is_named(client: TestClient) -> None:
    response = client.post("/predict/batch", json={"texts": [TEXT, TEXT, "没有"]})
    assert problem(response, 400) == "texts[2]: the text has no [MASK]"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": "今天"}, 400),
        ({"text": ""}, 400),
        ({"text": "[mask]"}, 400),
        ({"text": TEXT, "top_k": 0}, 400),
        ({"text": TEXT, "top_k": True}, 400),
        ({"text": "[MASK]" + "今" * 510}, 422),
        ({"text": "[MASK]" * 9}, 422),
        ({"text": TEXT, "candidates": ["上", "龘"]}, 422),
        ({"text": TEXT, "candidates": [""]}, 422),
    ],
)
def test_what_cannot_be_asked(client: TestClient, body: dict[str, Any], status: int) -> None:
    assert problem(client.post("/predict", json=body), status)


@pytest.mark.parametrize(
    ("body", "code", "values"),
    [
        ({"text": "今天"}, "no_mask", None),
        ({"text": "天" * 600 + "[MASK]"}, "too_many_tokens", {"tokens": 603, "most": 512}),
        ({"text": "[MASK]" * 9}, "too_many_masks", {"masks": 9, "most": 8}),
        ({"text": TEXT, "candidates": ["火"]}, "unknown_candidate", {"candidate": "'火'"}),
        ({"text": TEXT, "topk": 1}, "unknown_field", {"field": "topk"}),
        ({"text": "\0[MASK]"}, "null_character", None),
        ({"text": "\ud800[MASK]"}, "half_surrogate", None),
        ({"text": "天" * 70000}, "body_too_large", {"most": 65536}),
        ({}, "bad_request", None),
    ],
)
def test_a_problem_says_for_programs_what_it_says_for_people(
    client: TestClient, body: dict[str, Any], code: str, values: dict[str, Any] | None
) -> None:
    document = client.post("/predict", content=json.dumps(body)).json()
    assert document["code"] == code
    assert document.get("values") == values
    for value in (values or {}).values():
        assert str(value) in document["detail"]


def test_a_batchs_problem_has_the_index(client: TestClient) -> None:
    document = client.post("/predict/batch", json={"texts": [TEXT, "今天"]}).json()
    assert (document["code"], document["values"]) == ("no_mask", {"index": 1})


def test_an_answer_says_how_long_the_server_took(client: TestClient) -> None:
    began = time.perf_counter()
    response = client.post("/predict", json={"text": TEXT})
    took = (time.perf_counter() - began) * 1000
    entries = [entry.split(";dur=") for entry in response.headers["server-timing"].split(", ")]
    times = {name: float(value) for name, value in entries}
    assert list(times) == ["total", "queue", "engine"]
    assert 0 < times.pop("total") <= took
    assert sum(times.values()) <= took
    assert client.get("/nowhere").headers["server-timing"].startswith("total;dur=")


def test_512_tokens_are_not_too_many(client: TestClient) -> None:
    response = client.post("/predict", json={"text": "[MASK]" + "今" * 509})
    assert response.status_code == 200


def test_bad_json_is_a_problem_on_both_routes(client: TestClient) -> None:
    for path in ("/predict", "/predict/batch"):
        for body in (b"", b"{", b"[" * 60000, b'{"text": NaN}', b"\xff", b'"[MASK]"'):
            assert problem(client.post(path, content=body), 400)


def test_the_content_type_does_not_matter(client: TestClient) -> None:
    body = json.dumps({"text": TEXT}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post("/predict", content=body, headers={"content-type": kind})
        assert response.status_code == 200


def test_body_limit(client: TestClient) -> None:
    start, end = b'{"text": "[MASK]"', b"}"
    fits = start + b" " * (65536 - len(start) - 1) + end
    assert client.post("/predict", content=fits).status_code == 200
    response = client.post("/predict", content=fits + b" ")
    assert "65536" in problem(response, 413)
    assert response.headers["connection"] == "close"


def test_a_body_without_a_length_is_not_read_past_the_limit(client: TestClient) -> None:
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        for _ in range(100):
            given += 4096
            yield b" " * 4096

    problem(client.post("/predict", content=chunks()), 413)
    response = client.post("/predict", content=b"{}", headers={"content-length": "9" * 5000})
    problem(response, 413)


def test_unknown_paths_and_methods(client: TestClient) -> None:
    for path in ("/nowhere", "/predict/", "/docs", "/redoc", "/%00", "/%ff%fe"):
        problem(client.get(path), 404)
    response = client.get("/predict")
    problem(response, 405)
    assert response.headers["allow"] == "POST"
    problem(client.post("/health/live"), 405)
    assert client.head("/predict").status_code == 405
    assert all(client.head(path).status_code == 200 for path in ("/", "/health/live", "/metrics"))


def test_an_engine_that_fails_is_a_500_without_its_secrets(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.post("/predict", json={"text": "boom[MASK]"})
    problem(response, 500)
    assert "secret" not in response.text
    assert "secret of the engine" in caplog.text
    assert response.headers["x-request-id"] in caplog.text
    assert client.post("/predict", json={"text": TEXT}).status_code == 200


def test_scores_that_are_no_numbers_are_a_500(client: TestClient) -> None:
    problem(client.post("/predict", json={"text": "nan[MASK]"}), 500)


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_draining(client: TestClient) -> None:
    client.app.state.service.drain()  # type: ignore[attr-defined]
    response = client.get("/health/ready")
    assert problem(response, 503) == "the server is draining"
    assert int(response.headers["retry-after"]) >= 1
    # No client is refused: a load balancer may still send some.
    assert client.post("/predict", json={"text": TEXT}).status_code == 200
    assert client.post("/predict/batch", json={"texts": [TEXT]}).status_code == 200
    assert client.get("/health/live").status_code == 200


def test_a_full_queue_is_a_503_and_the_accepted_are_answered(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client = open_client(queue_limit=1)
    engine.gate.clear()
    with ThreadPoolExecutor(2) as callers:
        slow = {"text": "slow[MASK]"}
        running = callers.submit(client.post, "/predict", json=slow)
        wait_until(lambda: engine.asked == 2)
        waiting = callers.submit(client.post, "/predict", json=slow)
        statuses = set()

        def overloaded() -> bool:
            # A probe may take the one free place before the second caller does; it is then held
            # like it, so the probe asks for two places: never granted, never held.
            response = client.post("/predict/batch", json={"texts": [TEXT, TEXT]})
            statuses.add(response.status_code)
            return response.status_code == 503

        wait_until(overloaded)
        assert statuses == {503}
        engine.gate.set()
        assert {running.result().status_code, waiting.result().status_code} == {200}
    assert client.post("/predict", json={"text": TEXT}).status_code == 200


def test_past_the_deadline_is_a_504_and_what_waited_is_never_run(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client = open_client(deadline=0.2)
    engine.gate.clear()
    with ThreadPoolExecutor(2) as callers:
        running = callers.submit(client.post, "/predict", json={"text": "slow[MASK]"})
        wait_until(lambda: engine.asked == 2)
        problem(client.post("/predict", json={"text": TEXT}), 504)
        problem(running.result(), 504)
    engine.gate.set()
    assert client.post("/predict", json={"text": TEXT}).status_code == 200
    assert engine.asked == 3  # the warm-up, the slow one, the last one


def test_a_batch_no_queue_could_hold_is_a_422(open_client: Callable[..., TestClient]) -> None:
    client = open_client(queue_limit=1)
    problem(client.post("/predict/batch", json={"texts": [TEXT] * 3}), 422)
    assert client.post("/predict/batch", json={"texts": [TEXT] * 2}).status_code == 200


def test_a_batch_past_what_the_engine_runs_side_by_side_is_a_422(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    engine.about = About(callers=2)
    client = open_client(streams=8, queue_limit=2)
    assert client.post("/predict/batch", json={"texts": [TEXT] * 4}).status_code == 200
    assert "more than 4" in problem(client.post("/predict/batch", json={"texts": [TEXT] * 5}), 422)


def test_a_candidate_is_looked_up_once_however_many_texts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked_up = TextEncoder.candidate_id, list[str]()

    def counted(self: TextEncoder, candidate: str) -> int:
        looked_up.append(candidate)
        return real(self, candidate)

    monkeypatch.setattr(TextEncoder, "candidate_id", counted)
    unknown = {"texts": [TEXT] * 30, "candidates": ["上", "龘"]}
    detail = problem(client.post("/predict/batch", json=unknown), 422)
    assert detail == "candidate '龘' is not in the vocabulary"
    assert looked_up == ["上", "龘"]


def test_where_there_is_no_room_nothing_is_encoded(
    open_client: Callable[..., TestClient], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(queue_limit=1, max_batch=1)
    engine.gate.clear()
    with ThreadPoolExecutor(2) as callers:
        slow = {"text": "slow[MASK]"}
        accepted = [callers.submit(client.post, "/predict", json=slow) for _ in range(2)]
        service = client.app.state.service  # type: ignore[attr-defined]
        wait_until(lambda: engine.asked == 2 and service.waiting == 1)  # the warm-up is one
        monkeypatch.setattr(TextEncoder, "encode", lambda *_: pytest.fail("it was encoded"))
        assert "full" in problem(client.post("/predict", json={"text": TEXT}), 503)
        engine.gate.set()
        assert [reply.result().status_code for reply in accepted] == [200, 200]


def test_a_long_text_reads_as_a_short_one(client: TestClient, predictor: Predictor) -> None:
    """Long ones are encoded another way, which lets other threads run."""
    text = " " * LONG + TEXT
    assert predictor.encoder.encode(text) == predictor.encoder.encode(TEXT)
    answer = client.post("/predict", json={"text": text})
    assert answer.json() == client.post("/predict", json={"text": TEXT}).json()


def test_streams_run_side_by_side(open_client: Callable[..., TestClient], engine: Any) -> None:
    client = open_client(streams=2)
    engine.gate.clear()
    timer = threading.Timer(5, engine.gate.set)
    timer.start()
    with ThreadPoolExecutor(1) as callers:
        running = callers.submit(client.post, "/predict", json={"text": "slow[MASK]"})
        wait_until(lambda: engine.asked == 2)
        assert client.post("/predict", json={"text": TEXT}).status_code == 200
        assert not engine.gate.is_set()
        engine.gate.set()
        assert running.result().status_code == 200
    timer.cancel()


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
def test_probes_may_ask_for_the_head_only(client: TestClient, path: str) -> None:
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")
