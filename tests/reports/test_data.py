"""The summary as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

pytestmark = pytest.mark.usefixtures("quick_plots")


def test_intervals_stand_in_the_summary(repeated: Run, tmp_path: Path) -> None:
    write_pages([repeated], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    point = next(point for point in summary["points"] if point["variant"] == "onnx-int8")
    assert point["qps"]["low"] < point["qps"]["value"] < point["qps"]["high"]
    assert point["p95_ms"]["low"] < point["p95_ms"]["value"] < point["p95_ms"]["high"]
    assert summary["answer"]["status"] == "tie"
    assert [each["variant"] for each in summary["answer"]["tied"]] == ["onnx-fp16"]


def test_the_summary_is_data_without_infinities(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    broken = make_cell("onnx-int8", "article", 8, 100, failures={"503": 400})
    write_pages([make_run(cells=(broken,))], tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    summary = json.loads(text, parse_constant=refuse)
    chosen = summary["answer"]["candidates"][0]
    assert (chosen["variant"], chosen["users"]) == ("onnx-int8", 8)
    assert summary["question"]["limit_ms"] == 130
    (point,) = [p for p in summary["points"] if p["variant"] == "onnx-int8" and not p["valid"]]
    assert point["p95_ms"] == {"value": "infinite", "low": None, "high": None}
    assert summary["format"] == 3
    assert {cost["currency"] for cost in summary["costs"]} == {"CNY", "USD"}
