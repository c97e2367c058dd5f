"""Every claim of the article is judged by rules, with arithmetic that a reader can follow."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tiankong.reports.facts import article as rules
from tiankong.reports.facts.article import judge, read_article
from tiankong.reports.facts.claims.claims import findings
from tiankong.reports.facts.claims.findings import Finding
from tiankong.reports.facts.estimates import Estimate
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import compose
from tiankong.toolkit.runs.run_file import Cell, Run

SERVER = ("onnx-fp32", "article")
OURS = {("onnx-int8", "reference"): {8: 80.0}}  # 100 requests/s


@pytest.fixture
def found_in(make_run: Callable[..., Run]) -> Callable[..., dict[Any, Finding]]:
    """Findings by claim (of the table: by claim and users) of a run of the article's server."""

    def find(
        speeds: dict[int, float] | None = None,
        cells: tuple[Cell, ...] = (),
        evidence: dict[str, Any] | None = None,
        **header: Any,
    ) -> dict[Any, Finding]:
        run = make_run({SERVER: speeds or {}, **OURS}, cells, **header)
        run = replace(run, evidence=evidence or {})
        found = findings(compose([run], read_article(), read_prices()))
        return {(f.claim, f.quoted["users"]) if "users" in f.quoted else f.claim: f for f in found}

    return find


Find = Callable[..., dict[Any, Finding]]


def sums(finding: Finding) -> dict[str, dict[str, Any]]:
    return {line.key: dict(line.values) for line in finding.sums}


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(rules) == (0, 2)


def test_a_figure_is_reproduced_within_the_tolerance_or_the_interval() -> None:
    assert judge(100, Estimate(90)) == judge(100, Estimate(110)) == "reproduced"
    assert judge(100, Estimate(89.9)) == judge(100, Estimate(110.1)) == "not-reproduced"
    assert judge(100, Estimate(150, 99, 220)) == "reproduced"
    assert judge(100, Estimate(150, 101, 220)) == "not-reproduced"


def test_loads_on_both_sides_decide_only_if_they_agree() -> None:
    assert judge(100, Estimate(95), Estimate(105)) == "reproduced"
    assert judge(100, Estimate(120), Estimate(130)) == "not-reproduced"
    assert judge(100, Estimate(50), Estimate(200)) == "not-measured"
    assert judge(100, Estimate(95), Estimate(130)) == "not-measured"
    assert judge(100, Estimate(95), None) == "not-measured"


def test_a_row_is_compared_at_the_same_load_a_core(found_in: Find) -> None:
    found = found_in({1: 25.0, 4: 150.0})  # two cores here, eight there
    sixteen = found["qps", 16]
    assert sixteen.verdict == "reproduced"  # 105 / 8 = 13.1 there, 26.7 / 2 = 13.3 here
    assert sums(sixteen)["per_core"]["per_core"] == pytest.approx(13.125)
    assert sums(sixteen)["per_core_here"]["users"] == 4
    assert sums(sixteen)["per_core_here"]["per_core"] == pytest.approx(4 / 0.150 / 2, rel=0.01)
    assert found["qps", 4].verdict == "not-reproduced"  # 8.5 there, 20 here
    assert sums(found["qps", 4])["per_core_here"]["users"] == 1


def test_a_single_user_is_compared_with_a_single_user(found_in: Find) -> None:
    found = found_in({1: 1000 / 21})
    assert found["qps", 1].verdict == "reproduced"
    assert "per_core" not in sums(found["qps", 1])
    assert sums(found["cpu", 1])["cpu_time"]["in_use"] == pytest.approx(2.8)


def test_a_load_that_was_not_measured_is_said_to_be_missing(found_in: Find) -> None:
    lone = found_in({1: 25.0})
    assert lone["p95", 8].verdict == "not-measured"
    assert sums(lone["p95", 8])["needs"]["level"] == 2
    both = found_in({1: 140.0, 4: 400.0})  # 89 ms lie below both: that is an answer
    assert both["p95", 8].verdict == "not-reproduced"
    assert "needs" not in sums(both["p95", 8])
    odd = found_in({1: 25.0, 4: 80.0}, machine={
        "cpu": "C", "architecture": "x86_64", "usable_cores": 3,
    })  # fmt: skip
    assert "no_level" in sums(odd["p95", 4])  # 1.5 users


def test_littles_law_decides_whatever_was_measured(found_in: Find) -> None:
    found = found_in({1: 45.0, 4: 130.0})  # just the article's P95
    for users, mean in ((1, 47.62), (16, 152.38)):
        assert found["p95", users].verdict == "contradicts-itself"
        assert sums(found["p95", users])["little"]["mean"] == pytest.approx(mean, abs=0.01)
    assert "possible" in sums(found["p95", 4])
    assert found["average"].verdict == "contradicts-itself"
    assert sums(found["average"])["means_kept"] == {"kept": 1, "rows": 4, "quoted_ms": 50}


def test_what_is_invalid_or_of_another_model_decides_nothing(
    found_in: Find, make_cell: Callable[..., Cell]
) -> None:
    wrong = found_in({}, (make_cell(*SERVER, 1, 1000 / 21, wrong=3),))
    assert wrong["qps", 1].verdict == "not-measured"
    assert "invalid" in sums(wrong["qps", 1])
    small = {"name": "builtin-small", "layers": 4, "hidden": 256, "parameters": 5_200_000}
    other = found_in({1: 1000 / 21}, model=small)
    assert {other["qps", 1].verdict, other["full_file"].verdict} == {"not-measured"}
    assert sums(other["qps", 1])["other_model"] == {"what": "builtin-small"}
    assert other["cheaper_at_work"].ours == ()


def test_files(found_in: Find) -> None:
    found = found_in()
    assert [found[name].verdict for name in ("full_file", "half_file", "halves")] == [
        "reproduced"
    ] * 3
    assert sums(found["full_file"])["parameters"]["mb"] == 408


def test_evidence_beside_the_run(found_in: Find) -> None:
    names = ("image", "small_file", "small_ms")
    before = found_in()
    assert [before[name].verdict for name in names] == ["not-measured"] * 3
    assert sums(before["image"])["room"]["rest"] == 180
    small = {
        "model": "builtin-6layer", "variant": "onnx-fp32", "parameters": 59_760_000, "users": 1,
        "file_bytes": 239_000_000, "mean_ms": 12.5, "invalid": [],
    }  # fmt: skip
    image = {
        "variant": "onnx-int8", "environment_bytes": 190_000_000, "variant_bytes": 105_000_000,
        "bytes": 295_000_000,
    }  # fmt: skip
    found = found_in(evidence={"image": image, "distilbert": small})
    assert [found[name].verdict for name in names] == [
        "reproduced", "reproduced", "not-reproduced",
    ]  # fmt: skip
    assert sums(found["image"])["image_kept"]["rest"] == pytest.approx(105)
    assert sums(found["image"])["image_parts"]["environment"] == 190
    assert sums(found["small_file"])["parameters"]["mb"] == pytest.approx(239.04)
    assert sums(found["small_ms"])["ms_times"]["times"] == pytest.approx(0.3125)
    large = {"image": image | {"bytes": 401_000_000}, "distilbert": small | {"invalid": ["stolen"]}}
    found = found_in(evidence=large)
    assert [found[name].verdict for name in names] == [
        "not-reproduced", "reproduced", "not-measured",
    ]  # fmt: skip
    assert "invalid" in sums(found["small_ms"])
    missing = found_in(evidence={"image": {"left_out": True}, "distilbert": {"left_out": True}})
    assert [missing[name].verdict for name in names] == ["not-measured"] * 3
    bare = found_in(evidence={"image": {"bytes": 300_000_000}, "distilbert": {"mean_ms": 41.0}})
    assert [bare[name].verdict for name in names] == ["reproduced", "not-measured", "reproduced"]
