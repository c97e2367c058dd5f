"""What the gate found stands on the pages, whole; what an older run does not record is a dash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.variants import FOUND, flip_lines, gate_grid
from tiankong.reports.text.language import read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Run

pytestmark = pytest.mark.usefixtures("quick_plots")

ENGLISH = read_language("en")
OLD = {"passed": True, "hit_at_1": 0.975, "hit_at_5": 1.0, "top1_agreement": 0.985}
FULL = {
    "top5_agreement": 0.745, "order_agreement": 0.49, "max_delta": 0.0726, "divergence": 1.72e-3,
    "worst_divergence": 0.0244, "worst": "i036", "batch": {"independent": True},
    "guessing": {"hit_at_1": 0.01, "hit_at_5": 0.05, "at_chance": False},
}  # fmt: skip
NOTHING = {
    "hit_at_1": 0.0, "hit_at_5": 0.0, "top1_agreement": 1.0,
    "guessing": {"hit_at_1": 0.01, "hit_at_5": 0.038, "at_chance": True},
    "warnings": ["hit@5 is 0.0%"],
}  # fmt: skip


def row(run: Run, variant: str) -> dict[str, str]:
    grid = gate_grid(compose([run], read_article(), ()), ENGLISH)
    (found,) = (entries for entries in grid.rows if entries[0].text == variant)
    return {key: entry.text for key, entry in zip(FOUND, found, strict=True)}


@pytest.fixture
def run_of(make_run: Callable[..., Run], make_variant: Callable[..., Any]) -> Callable[..., Run]:
    def make(**gates: Any) -> Run:
        return make_run(
            variants={
                name.replace("_", "-"): make_variant(1_000_000, gate=gate)
                for name, gate in gates.items()
            }
        )

    return make


def test_everything_the_gate_found_is_shown(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    run = run_of(onnx_int8=make_gate(False, **FULL), onnx_fp32=OLD)
    assert row(run, "onnx-int8") == {
        "variant": "onnx-int8", "gate": "failed", "hit1": "97.5 %", "hit5": "100.0 %",
        "guessed": "5.0 %", "agreement": "98.5 %", "top5": "74.5 %", "order": "49.0 %",
        "flipped": "1", "delta": "0.073", "divergence": "0.0017", "worst": "0.024",
        "batches": "same answers",
    }  # fmt: skip
    (line,) = flip_lines(compose([run], read_article(), ()), ENGLISH)
    assert line == "onnx-int8, flipped items: p001 上 → 下 (right: 上)."


def test_what_an_old_run_lacks_is_a_dash(run_of: Callable[..., Run], tmp_path: Path) -> None:
    run = run_of(onnx_fp32=OLD)
    assert row(run, "onnx-fp32") == dict.fromkeys(FOUND, "–") | {
        "variant": "onnx-fp32", "gate": "passed", "hit1": "97.5 %", "hit5": "100.0 %",
        "agreement": "98.5 %",
    }  # fmt: skip
    write_pages([run], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    (gate,) = (v["gate"] for v in summary["variants"] if v["name"] == "onnx-fp32")
    assert (gate["top5_agreement"], gate["flipped"], gate["judged"]) == (None, None, True)


def test_programs_get_it_whole(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    recorded = make_gate(False, **FULL)
    write_pages([run_of(onnx_int8=recorded)], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    (gate,) = (v["gate"] for v in summary["variants"] if v["name"] == "onnx-int8")
    assert {key: gate[key] for key in recorded} == recorded


def test_a_model_at_chance_is_never_recommended(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    names = ("pytorch_fp32", "onnx_fp32", "onnx_fp16", "onnx_int8")
    write_pages([run_of(**dict.fromkeys(names, make_gate(**NOTHING)))], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "No variant can be recommended: " in text
    assert "onnx-fp32 hits no more of the gold answers than guessing would" in text
    assert "instance" not in text.split("## ")[1]
    assert "**passed** (no better than guessing)" in text
    assert "onnx-int8 (no better than guessing): reference server" in text
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["answer"]["leading"] is None
    assert {each["refusal"] for each in summary["answer"]["candidates"]} == {"at-chance"}
    chinese = (tmp_path / "report.zh.md").read_text(encoding="utf-8")
    assert "答中的题目不比瞎猜多" in chinese
