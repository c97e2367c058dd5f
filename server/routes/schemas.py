"""The schemas of the OpenAPI document: bodies, results and problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...toolkit.engines.outputs import DEPTH, TOP

Schema = dict[str, Any]

EXAMPLE = "床前明月光,疑是地[MASK]霜。"
PROBLEMS = {
    400: "Not JSON, a field is missing or wrong, or a text has no [MASK]",
    401: "No API key, where the operator wants one",
    404: "No such model or version",
    408: "The body did not arrive in time",
    413: "The body is too large",
    422: "Too many tokens, masks or texts, or an unknown candidate",
    500: "The server failed",
    503: "The queue is full, or the server is not ready",
    504: "The deadline passed",
}
ASKING = [400, 401, 408, 413, 422, 500, 503, 504]


def ref(name: str) -> Schema:
    """Return a reference to one of the schemas here."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Sequence[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


TEXT: Schema = {"type": "string", "description": "a sentence with [MASK]", "examples": [EXAMPLE]}
OPTIONS: dict[str, Schema] = {
    "top_k": {"type": "integer", "minimum": 1, "maximum": DEPTH, "default": TOP},
    "candidates": {
        **_list({"type": "string"}, minItems=1),
        "description": "rank only these tokens; scores are over the whole vocabulary",
    },
}
RANKINGS: dict[str, Schema] = {
    "results": {**_list(ref("Ranked")), "description": "the first [MASK], best first"},
    "masks": {**_list(_list(ref("Ranked"))), "description": "one list per [MASK]"},
}
PARAMETERS: Schema = {
    "type": "object",
    "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
}
TENSOR: dict[str, Schema] = {
    "name": {"type": "string"},
    "datatype": {"type": "string", "enum": ["BYTES", "FP32", "INT64"]},
    "shape": _list({"type": "integer"}),
}
VARIANT: Schema = {"type": "string", "examples": ["onnx-int8"]}

SCHEMAS: dict[str, Schema] = {
    "Question": _object(["text"], text=TEXT, **OPTIONS),
    "BatchQuestion": _object(["texts"], texts=_list(TEXT, minItems=1), **OPTIONS),
    "Ranked": _object(
        ["token", "score"],
        token={"type": "string"},
        score={"type": "number", "minimum": 0, "maximum": 1},
    ),
    "Prediction": _object(["results", "masks"], **RANKINGS),
    "Answer": _object(["results", "masks", "variant"], **RANKINGS, variant=VARIANT),
    "BatchAnswer": _object(
        ["predictions", "variant"], predictions=_list(ref("Prediction")), variant=VARIANT
    ),
    "ServerMetadata": _object(
        ["name", "version", "extensions"],
        name={"type": "string"},
        version={"type": "string"},
        extensions=_list({"type": "string"}),
        models=_list({"type": "string"}),
        process={
            "type": "object",
            "description": "which process answers; a measuring tool on the same machine uses it",
        },
    ),
    "Live": _object(["live"], live={"type": "boolean"}),
    "Ready": _object(["ready"], ready={"type": "boolean"}),
    "ModelReady": _object(["name", "ready"], name=VARIANT, ready={"type": "boolean"}),
    "TensorMetadata": _object(["name", "datatype", "shape"], **TENSOR),
    "ModelMetadata": _object(
        ["name", "versions", "platform", "inputs", "outputs"],
        name=VARIANT,
        versions=_list({"type": "string"}),
        platform={"type": "string"},
        inputs=_list(ref("TensorMetadata")),
        outputs=_list(ref("TensorMetadata")),
        parameters={"type": "object", "description": "the settings in force"},
        model={"type": "object", "description": "of the variant: its name and parameters"},
        variant={"type": "object", "description": "its engine, and the bytes of its model file"},
    ),
    "Tensor": _object(
        ["name", "datatype", "shape"], **TENSOR, data={"type": "array"}, parameters=PARAMETERS
    ),
    "Inference": _object(
        ["inputs"],
        id={"type": "string"},
        inputs={
            **_list(ref("Tensor")),
            "description": "one tensor: text, BYTES, a sentence per element",
        },
        outputs=_list({"type": "object"}),
        parameters={
            "type": "object",
            "properties": {
                "top_k": OPTIONS["top_k"],
                "candidates": {"type": "string", "description": "tokens, spaces between them"},
                "timeout": {"type": "integer", "minimum": 0, "description": "microseconds"},
                "binary_data_output": {"type": "boolean"},
            },
        },
    ),
    "Inferred": _object(
        ["model_name", "model_version", "outputs"],
        model_name=VARIANT,
        model_version={"type": "string"},
        id={"type": "string"},
        outputs={**_list(ref("Tensor")), "description": "token, score, sentence"},
    ),
    "Health": _object(["status"], status={"type": "string", "enum": ["live", "ready"]}),
    "Problem": _object(
        ["type", "status", "title", "detail", "request_id", "error"],
        type={"type": "string"},
        status={"type": "integer"},
        title={"type": "string"},
        detail={"type": "string"},
        request_id={"type": "string"},
        error={"type": "string", "description": "same as detail"},
        code={"type": "string", "description": "a word for the kind of problem, for programs"},
        values={"type": "object", "description": "the figures and words that the detail has"},
    ),
}
