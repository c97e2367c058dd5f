"""Open Inference Protocol v2, by plain requests and by a public client (tritonclient)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from tiankong.toolkit.engines.predictor import Predictor
from tiankong.toolkit.processes import started_ticks

TEXTS = ["今天气很[MASK]。", "[MASK]天[MASK]"]
INFER = "/v2/models/fake/infer"


def body(*texts: str, **fields: Any) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [tensor], **fields}


def text_with(**parameters: Any) -> dict[str, Any]:
    document = body("今[MASK]")
    document["inputs"][0]["parameters"] = parameters
    return document


def outputs(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_a_row_for_every_mask(client: TestClient, predictor: Predictor) -> None:
    response = client.post(INFER, json=body(*TEXTS, id="42"))
    document = response.json()
    assert (document["model_name"], document["model_version"]) == ("fake", "1")
    assert document["id"] == "42"
    expected = [ranking for text in TEXTS for ranking in predictor.predict([text])[0]]
    tensors = outputs(response)
    assert tensors["token"]["shape"] == tensors["score"]["shape"] == [3, 5]
    assert tensors["token"]["data"] == [best.token for row in expected for best in row]
    assert tensors["score"]["data"] == [best.score for row in expected for best in row]
    assert tensors["sentence"] == {
        "name": "sentence", "datatype": "INT64", "shape": [3], "data": [0, 1, 1]
    }  # fmt: skip


def test_top_k_candidates_and_chosen_outputs(client: TestClient) -> None:
    asked = body(TEXTS[0], parameters={"top_k": 2}, outputs=[{"name": "token"}])
    assert list(outputs(client.post(INFER, json=asked))) == ["token"]
    assert outputs(client.post(INFER, json=asked))["token"]["shape"] == [1, 2]
    for candidates in ("下 上", ["下", "上"]):
        asked = body(TEXTS[0], parameters={"candidates": candidates})
        assert outputs(client.post(INFER, json=asked))["token"]["data"] == ["上", "下"]


def test_what_clients_send_by_convention_is_taken(client: TestClient) -> None:
    document = text_with(content_type="str") | {
        "id": "", "model_name": "fake", "model_version": None,
        "parameters": {
            "content_type": "pd", "headers": {"x": "y"}, "priority": 3, "timeout": 0,
            "sequence_id": 0, "sequence_start": False, "sequence_end": False, "top_k": 1,
        },
        "outputs": [{"name": "token", "parameters": {"content_type": "str", "binary_data": False}}],
    }  # fmt: skip
    assert outputs(client.post(INFER, json=document))["token"]["shape"] == [1, 1]


def test_what_server_and_model_say_of_themselves(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2").json()["process"] == {
        "pid": os.getpid(), "started_ticks": started_ticks(),
    }  # fmt: skip
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/fake", "/v2/models/fake/versions/1"):
        model = client.get(path).json()
        assert model["name"] == "fake"
        assert model["versions"] == ["1"]
        assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        assert [output["name"] for output in model["outputs"]] == ["token", "score", "sentence"]
        assert model["parameters"]["streams"] == 1
        assert model["parameters"]["max_batch"] == 16
        assert client.get(f"{path}/ready").json() == {"name": "fake", "ready": True}


def test_not_ready(client: TestClient) -> None:
    client.app.state.service.drain()  # type: ignore[attr-defined]
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/fake/ready"):
        assert client.get(path).status_code == 503
    assert client.post(INFER, json=body(*TEXTS)).status_code == 200


@pytest.mark.parametrize("model", ["other", "fake/versions/2"])
def test_another_model_is_not_here(client: TestClient, model: str) -> None:
    for response in (
        client.get(f"/v2/models/{model}"),
        client.get(f"/v2/models/{model}/ready"),
        client.post(f"/v2/models/{model}/infer", json=body(*TEXTS)),
    ):
        assert response.status_code == 404
        assert "fake" in response.json()["error"]


@pytest.mark.parametrize(
    ("document", "status", "complaint"),
    [
        ([], 400, "not a JSON object"),
        ({}, 400, "one tensor with the name text"),
        ({"inputs": {}}, 400, "inputs is not a list"),
        ({"inputs": [1]}, 400, "inputs is not a list"),
        ({"inputs": [{"name": "other"}]}, 400, "one tensor with the name text"),
        ({"inputs": [{"name": "text"}, {"name": "text"}]}, 400, "one tensor"),
        (body(), 400, "text has no sentence"),
        (body("今天"), 400, "[MASK]"),
        (body("今[MASK]", "a\0[MASK]"), 400, "text[1] has a null"),
        (body("今" * 600 + "[MASK]"), 422, "tokens"),
        (body(*["今[MASK]"] * 258), 422, "258 items"),
        (body("今[MASK]", id=7), 400, "id is not a string"),
        (body("今[MASK]", parameters=[]), 400, "parameters is not an object"),
        (body("今[MASK]", parameters={"top_k": 0}), 400, "top_k"),
        (
            body("今[MASK]", parameters={"top": 5}),
            400,
            "parameters: unknown field 'top'; known: top_k,",
        ),
        (body("今[MASK]", topk=1), 400, "unknown field 'topk'; known: id,"),
        (body("今[MASK]", parameters={"content_type": "base64"}), 400, "content_type is not one"),
        (body("今[MASK]", parameters={"sequence_id": 7}), 400, "sequence_id: there are no"),
        (body("今[MASK]", model_name="other"), 400, "model_name is not that of the path: fake"),
        (body("今[MASK]", outputs=[{"name": "token", "data": []}]), 400, "unknown field 'data'"),
        (text_with(shared_memory_region="r"), 400, "text: parameters: unknown field 'shared_mem"),
        (text_with(content_type="pillow"), 400, "content_type is not one of str"),
        (body("今[MASK]", parameters={"candidates": " "}), 400, "candidates"),
        (body("今[MASK]", parameters={"candidates": "nonsense"}), 422, "nonsense"),
        (body("今[MASK]", parameters={"timeout": -1}), 400, "timeout"),
        (body("今[MASK]", parameters={"timeout": 1.5}), 400, "timeout"),
        (
            body("今[MASK]", outputs=[{"name": "token", "parameters": {"classification": 3}}]),
            400,
            "classification",
        ),
        (body("今[MASK]", parameters={"binary_data_output": 1}), 400, "binary_data_output"),
        (body("今[MASK]", outputs=[{"name": "logits"}]), 400, "unknown output logits"),
        (body("今[MASK]", outputs="token"), 400, "outputs is not a list"),
    ],
)
def test_what_is_refused(client: TestClient, document: Any, status: int, complaint: str) -> None:
    response = client.post(INFER, json=document)
    assert response.status_code == status
    assert complaint in response.json()["error"]


def test_a_client_may_be_in_more_of_a_hurry_than_the_server(
    open_client: Callable[..., TestClient], engine: Any
) -> None:
    client = open_client()
    engine.gate.clear()
    try:
        response = client.post(INFER, json=body("slow[MASK]", parameters={"timeout": 50_000}))
    finally:
        engine.gate.set()
    assert response.status_code == 504


@pytest.fixture
def public(
    start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[triton.InferenceServerClient]:
    monkeypatch.setenv("FAKE_DELAY", "0")
    server = start_process()
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0


def tensor(texts: list[str], binary: bool) -> triton.InferInput:
    text = triton.InferInput("text", [len(texts)], "BYTES")
    text.set_data_from_numpy(np.array(texts, dtype=object), binary_data=binary)
    return text


@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("wants", [None, True, False])
def test_a_public_client(
    public: triton.InferenceServerClient, predictor: Predictor, sends: bool, wants: bool | None
) -> None:
    assert public.is_server_live()
    assert public.is_server_ready()
    assert public.is_model_ready("fake")
    assert public.get_server_metadata()["name"] == "tiankong"
    names = [output["name"] for output in public.get_model_metadata("fake")["outputs"]]
    wanted = None if wants is None else [
        triton.InferRequestedOutput(name, binary_data=wants) for name in names
    ]  # fmt: skip
    result = public.infer("fake", [tensor(TEXTS, sends)], outputs=wanted, request_id="one")
    expected = [ranking for text in TEXTS for ranking in predictor.predict([text])[0]]
    tokens, scores, rows = (result.as_numpy(name) for name in names)
    assert tokens.shape == scores.shape == (3, 5)
    plain = [[t.decode() if isinstance(t, bytes) else t for t in row] for row in tokens]
    assert plain == [[best.token for best in row] for row in expected]
    assert np.allclose(scores, [[best.score for best in row] for row in expected])
    assert rows.tolist() == [0, 1, 1]
    assert result.get_response()["id"] == "one"


def test_a_public_client_reads_our_problems(public: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"\[MASK\]"):
        public.infer("fake", [tensor(["今天"], True)])
    with pytest.raises(InferenceServerException, match="no model other"):
        public.infer("other", [tensor(TEXTS, True)])
