"""A model beside the measured one, really served; here it is the small one."""

from __future__ import annotations

from typing import Any

from tiankong.bench.evidence.companion import measure_companion
from tiankong.bench.load.generator import ALONE
from tiankong.bench.sweep.plan import Grid, Plan

PLAN = Plan("tiny", (Grid((1,)),), 1.0, 0.3)


def test_size_and_latency_of_a_companion(home: Any) -> None:
    found = measure_companion(PLAN, home.gold, ALONE, "onnx-int8", "builtin-small")
    manifest = home.variants["onnx-int8"].manifest
    assert (found["model"], found["variant"]) == ("builtin-small", "onnx-int8")
    assert (found["digest"], found["file_bytes"]) == (manifest.digest, manifest.model_file_size)
    assert found["requests"] > 5
    assert 0 < found["mean_ms"] < 1000
    assert found["p50_ms"] is None or 0 < found["p50_ms"] < 1000
    assert "wrong-answers" not in found["invalid"]
