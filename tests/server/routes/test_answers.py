from __future__ import annotations

import json
from typing import Any

import pytest

from tiankong.server.routes.answers import all_answered, answered
from tiankong.toolkit.engines.predictor import Answer, Ranked, as_body

TOKENS = ["上", "[UNK]", '"', "\\", "\n", "\x00\x1f\x7f", "é", "😀", "</script>", "\u2028", ""]
SCORES = [1.0, 0.0, 1e-05, 5e-324, 0.1, 0.9823456406593323, 1e-16, 3.0e-7, 1.0, 0.5, 0.25]
NAMES = ["onnx-int8", 'mine "a\\b" 空']


def rankings() -> list[Answer]:
    whole = [Ranked(token, score) for token, score in zip(TOKENS, SCORES, strict=True)]
    return [[whole], [whole[:2], whole[2:5], whole[5:]], [[]]]


def usual(document: Any) -> bytes:
    """Return what Starlette's JSONResponse makes of a document."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


@pytest.mark.parametrize("variant", NAMES)
def test_the_bytes_are_those_of_json(variant: str) -> None:
    for answer in rankings():
        response = answered(answer, variant)
        assert response.body == usual(as_body(answer) | {"variant": variant})
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-length"] == str(len(response.body))
    predictions = [as_body(answer) for answer in rankings()]
    body = all_answered(rankings(), variant).body
    assert body == usual({"predictions": predictions, "variant": variant})
