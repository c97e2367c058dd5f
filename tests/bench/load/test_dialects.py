"""What is sent to servers that speak otherwise, and how their answers are held to the right one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiankong.bench.load.job import Job
from tiankong.bench.load.recorder import wrong_answer
from tiankong.bench.load.target import Target
from tiankong.toolkit.engines.predictor import Ranked

TOKENS, SCORES = list("上下左右中"), [0.5, 0.2, 0.1, 0.05, 0.01]
ENTRIES = [{"token": t, "score": s} for t, s in zip(TOKENS, SCORES, strict=True)]
RIGHT = [Ranked(t, s) for t, s in zip(TOKENS, SCORES, strict=True)]
BODIES: dict[str, Any] = {
    "predict": {"results": ENTRIES},
    "lists": [ENTRIES],
    "kserve": {
        "outputs": [
            {"name": "score", "shape": [1, 5], "datatype": "FP32", "data": SCORES},
            {"name": "token", "shape": [1, 5], "datatype": "BYTES", "data": TOKENS},
        ]
    },
}


@pytest.mark.parametrize("dialect", BODIES)
def test_an_answer_in_any_dialect_is_checked(dialect: str) -> None:
    body = json.dumps(BODIES[dialect])
    assert wrong_answer("春", body, [RIGHT], dialect) == ""
    assert wrong_answer("春", body, [RIGHT[::-1]], dialect) == "春: 上下左右中, not 中右左下上"
    for other in BODIES.keys() - {dialect}:
        assert "not an answer" in wrong_answer("春", body, [RIGHT], other)


def test_a_target_is_asked_in_its_dialect() -> None:
    targets = [Target("http://h:1", dialect=name) for name in BODIES]
    job = Job.from_json(json.loads(json.dumps(Job(targets, ["春"]).as_json())))
    asked = [job.question(number, ["春"]) for number in range(3)]
    assert asked[:2] == [("/predict", {"text": "春"}), ("/predict", {"texts": ["春"]})]
    path, body = asked[2]
    assert path == "/v2/models/fill/infer"
    assert body["inputs"][0]["data"] == ["春"]
