"""What the gate found stands on the pages, whole; what an older run does not record is a dash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.gate import FOUND, gate, gate_grid
from tiankong.reports.text.language import Language, read_language
from tiankong.reports.text.tables import Contrasts
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


def test_changed_items_are_counted_a_variant(
    make_run: Callable[..., Run],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
) -> None:
    variants = {"onnx-fp32": make_variant(1), "onnx-int8": make_variant(2, gate=make_gate(False))}
    told = gate(compose([make_run(variants=variants)], read_article(), ()), ENGLISH).gist
    assert told.endswith("a variant: onnx-int8 1")
    none = gate(compose([make_run()], read_article(), ()), ENGLISH).gist
    assert none.endswith("a variant: none")


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
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run = run_of(onnx_int8=make_gate(False, **FULL), onnx_fp32=OLD)
    assert row(run, "onnx-int8") == {
        "variant": "onnx-int8", "gate": "failed", "hit1": "97.5 %", "hit5": "100.0 %",
        "guessed": "5.0 %", "agreement": "98.5 %", "top5": "74.5 %", "order": "49.0 %",
        "flipped": "1", "delta": "0.073", "divergence": "0.0017", "worst": "0.024",
        "batches": "same answers",
    }  # fmt: skip
    write_pages([run], tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in page if line.startswith("- p001")]
    assert line.startswith(
        "- p001 床前明月光,疑是地\\_\\_\\_\\_霜。 上 is right: the reference puts it first,"
    )


TOP = [["上", 0.61234], ["下", 0.25], ["中", 0.05], ["里", 0.01], ["面", 0.0004]]
OTHER = [["下", 0.5], ["上", 0.30001], ["中", 0.05], ["里", 0.01], ["面", 0.0]]
FLIP = {
    "id": "p001", "text": "床前明月光,疑是地[MASK]霜。", "answer": "上", "reference": "上",
    "variant": "下", "reference_top5": TOP, "variant_top5": OTHER,
}  # fmt: skip
CATEGORIES = {
    "poem": {"items": 100, "hit_at_1": 0.5, "hit_at_5": 0.75, "top1_agreement": 0.99},
    "菜名": {"items": 50, "hit_at_1": 0.1, "hit_at_5": 0.2},
}


def contrasts(run: Run, language: Language = ENGLISH) -> tuple[Contrasts, ...]:
    return gate(compose([run], read_article(), ()), language).contrasts


def test_a_flip_is_shown_with_both_lists_and_who_is_right(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    found = make_gate(True, **FULL, flipped=[FLIP], categories=CATEGORIES)
    (group,) = contrasts(run_of(pytorch_fp32=make_gate(), onnx_int8=found))
    (pair,) = group.contrasts
    assert (pair.before, pair.after, pair.answer) == ("床前明月光,疑是地", "霜。", "上")
    reference, variant = pair.ranks
    assert (reference.title, variant.title) == ("pytorch-fp32", "onnx-int8")
    assert reference.tokens[0] == ("上", "61.2 %", True)
    assert variant.tokens[:2] == (("下", "50.0 %", False), ("上", "30.0 %", True))
    assert variant.tokens[-1] == ("面", "< 0.1 %", False)
    assert group.lead.startswith(
        "1 of 150 best tokens are others. Right answers lost: 1, gained: 0; wrong before and after"
    )


@pytest.mark.parametrize(
    ("reference", "variant", "words"),
    [
        ("上", "下", "onnx-int8 does not"),
        ("下", "上", "onnx-int8 puts it first"),
        ("下", "中", "neither puts"),
    ],
)
def test_who_is_right(
    run_of: Callable[..., Run],
    make_gate: Callable[..., dict[str, Any]],
    reference: str,
    variant: str,
    words: str,
) -> None:
    flip = FLIP | {"reference": reference, "variant": variant}
    (group,) = contrasts(run_of(onnx_int8=make_gate(True, flipped=[flip])))
    assert words in group.contrasts[0].remark


def test_the_question_that_diverges_most_shows_its_own_blank(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    text = "春" * 60 + "[MASK]眠不觉[MASK]晓" + "天" * 60
    furthest = {
        "id": "probe-9.2", "text": text, "mask": 2, "reference_top5": TOP, "variant_top5": OTHER,
    }  # fmt: skip
    found = make_gate(True, worst_divergence=0.02, divergence=0.001, furthest=furthest)
    (group,) = contrasts(run_of(onnx_int8=found))
    (pair,) = group.contrasts
    assert pair.before.startswith("…春")
    assert pair.before.endswith("春____眠不觉")
    assert pair.after == "晓" + "天" * 23 + "…"
    assert pair.remark == "Diverges most: 0.020 nats."
    alike = furthest | {"variant_top5": TOP}
    same = run_of(onnx_int8=make_gate(True, worst_divergence=1e-9, furthest=alike))
    assert contrasts(same) == ()


def test_a_flip_that_diverges_most_is_shown_once(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    lists = {"reference_top5": TOP, "variant_top5": OTHER}
    furthest = {"id": "p001", "text": FLIP["text"], "mask": 1, **lists}
    found = make_gate(True, flipped=[FLIP], worst_divergence=0.02, furthest=furthest)
    (group,) = contrasts(run_of(onnx_int8=found))
    (pair,) = group.contrasts
    assert pair.remark.startswith("is right: the reference puts it first")
    assert pair.remark.endswith("Diverges most: 0.020 nats.")


def test_rates_stand_by_category_under_any_name(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    run = run_of(onnx_int8=make_gate(categories=CATEGORIES))
    section = gate(compose([run], read_article(), ()), read_language("zh"))
    (table,) = section.grids[1:]
    assert table.caption == "onnx-int8，按类别"
    assert [[entry.text for entry in entries] for entries in table.rows] == [
        ["诗词", "100", "50.0 %", "75.0 %", "99.0 %"],
        ["菜名", "50", "10.0 %", "20.0 %", "–"],
    ]


def test_agreement_bounds_the_true_rate_only_so_far(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    run = run_of(
        pytorch_fp32=make_gate(), onnx_fp32=make_gate(), onnx_int8=make_gate(flipped=[FLIP])
    )
    grid = gate_grid(compose([run], read_article(), ()), ENGLISH)
    flips = [entries[FOUND.index("flipped")] for entries in grid.rows[:3]]
    # 1 - 0.05 ** (1 / 200) = 1.49 % for none of 200; the reference is compared with nothing.
    assert [entry.note for entry in flips] == ["", "≤ 1.5 %", "≤ 2.3 %"]
    unseen = gate(compose([run], read_article(), ()), ENGLISH).items
    assert any("none of the 200 items may flip up to 1.5 % of such sentences" in t for t in unseen)
    assert any("Grown from a small model" in text for text in unseen)


def test_an_older_run_shows_the_two_best_tokens(
    run_of: Callable[..., Run], make_gate: Callable[..., dict[str, Any]]
) -> None:
    (group,) = contrasts(run_of(onnx_int8=make_gate(False)))
    (pair,) = group.contrasts
    assert [side.tokens for side in pair.ranks] == [(("上", "", True),), (("下", "", False),)]


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
    assert "答中的题目不比随机猜测多" in chinese
