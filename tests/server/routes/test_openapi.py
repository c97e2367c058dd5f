from __future__ import annotations

from typing import Any

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

TEXT = "今天气很[MASK]。"


def test_the_openapi_document_tells_the_truth(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]) == {
        "/predict",
        "/predict/batch",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{name}",
        "/v2/models/{name}/ready",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{number}",
        "/v2/models/{name}/versions/{number}/ready",
        "/v2/models/{name}/versions/{number}/infer",
    }

    def check(value: Any, name: str) -> None:
        reference = {"$ref": f"#/components/schemas/{name}"}
        jsonschema.validate(value, reference | {"components": document["components"]})

    def named(part: dict[str, Any]) -> str:
        [media] = part["content"].values()
        return str(media["schema"]["$ref"].rpartition("/")[2])

    for path, body in {
        "/predict": {"text": "[MASK]天[MASK]", "top_k": 2, "candidates": ["上"]},
        "/predict/batch": {"texts": [TEXT, TEXT]},
    }.items():
        operation = document["paths"][path]["post"]
        check(body, named(operation["requestBody"]))
        check(client.post(path, json=body).json(), named(operation["responses"]["200"]))
        for status in ("400", "401", "408", "413", "422", "500", "503", "504"):
            assert named(operation["responses"][status]) == "Problem"
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
    inference = {"id": "1", "inputs": [tensor], "parameters": {"top_k": 2}}
    operation = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name"]
    check(inference, named(operation["requestBody"]))
    answer = client.post("/v2/models/fake/infer", json=inference).json()
    check(answer, named(operation["responses"]["200"]))
    check(client.post("/predict", json={}).json(), "Problem")
    for path in set(document["paths"]) - {"/metrics"}:
        operation = document["paths"][path].get("get")
        if operation:
            answer = client.get(path.format(name="fake", number=1)).json()
            check(answer, named(operation["responses"]["200"]))
