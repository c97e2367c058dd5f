"""The verdict: never a variant that failed the gate, never a difference that may be noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tiankong.reports.facts.points import points
from tiankong.reports.facts.variants import variant_rows
from tiankong.reports.facts.verdict import Verdict, best_points, decide
from tiankong.toolkit.runs.run_file import Cell, Run

LIMIT = 130.0


def verdict(run: Run, limit: float = LIMIT) -> Verdict:
    found = points([run], "onnx-fp32", LIMIT)
    return decide(found, variant_rows([run], found), limit)


def test_the_cheapest_within_the_limit_is_chosen(make_run: Callable[..., Run]) -> None:
    found = verdict(make_run())
    assert found.chosen is not None
    # 8 and 16 users both answer 160 a second: the lower P95 wins.
    assert (found.chosen.variant, found.chosen.users) == ("onnx-int8", 8)
    assert found.within_limit
    assert found.rivals == ()


def test_a_variant_that_did_not_pass_the_gate_is_never_chosen(
    make_run: Callable[..., Run],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
) -> None:
    variants = {
        "onnx-fp32": make_variant(1),
        "onnx-fp16": make_variant(2, gate=None),
        "onnx-int8": make_variant(3, gate=make_gate(False)),
        "own-model": make_variant(4, gate=make_gate(True) | {"judged": False}),
    }
    speeds = {(name, "reference"): {8: 50 - place} for place, name in enumerate(variants)}
    found = verdict(make_run(speeds, variants=variants))
    assert found.chosen is not None
    assert found.chosen.variant == "onnx-fp32"
    assert {refusal.variant: refusal.reason for refusal in found.refusals} == {
        "onnx-int8": "gate-failed",
        "onnx-fp16": "no-gate",
        "own-model": "not-judged",
    }


@pytest.mark.parametrize(("latency", "close"), [(52.0, True), (53.0, False)])
def test_less_than_five_percent_is_too_close_to_call(
    make_run: Callable[..., Run], latency: float, close: bool
) -> None:
    speeds = {("onnx-int8", "reference"): {8: 50}, ("onnx-fp16", "reference"): {8: latency}}
    assert bool(verdict(make_run(speeds)).rivals) is close


@pytest.fixture
def repeats(make_cell: Callable[..., Cell]) -> Callable[..., tuple[Cell, ...]]:
    def made(variant: str, *latencies: float) -> tuple[Cell, ...]:
        return tuple(
            make_cell(variant, "reference", 8, latency, repeat=number)
            for number, latency in enumerate(latencies, start=1)
        )

    return made


def test_overlapping_intervals_are_too_close_to_call(
    make_run: Callable[..., Run], repeats: Callable[..., tuple[Cell, ...]]
) -> None:
    cells = (*repeats("onnx-int8", 50, 51, 62), *repeats("onnx-fp16", 57, 58, 59))
    found = verdict(make_run({}, cells))
    assert [rival.point.variant for rival in found.rivals] == ["onnx-fp16"]
    mean = ((57 * 58 * 59) / (50 * 51 * 62)) ** (1 / 3)
    assert found.rivals[0].percent == pytest.approx((mean - 1) * 100, abs=0.3)
    assert found.rivals[0].overlapping


def test_steady_repeats_tell_even_a_small_difference(
    make_run: Callable[..., Run], repeats: Callable[..., tuple[Cell, ...]]
) -> None:
    cells = (*repeats("onnx-int8", 50, 50.1, 49.9), *repeats("onnx-fp16", 52, 52.1, 51.9))
    assert verdict(make_run({}, cells)).rivals == ()  # 4 % behind, but beyond both intervals


def test_the_margin_decides_where_one_point_has_no_interval(
    make_run: Callable[..., Run], repeats: Callable[..., tuple[Cell, ...]]
) -> None:
    cells = (*repeats("onnx-int8", 50, 50.1, 49.9), *repeats("onnx-fp16", 52))
    (rival,) = verdict(make_run({}, cells)).rivals
    assert not rival.overlapping


def test_without_any_point_only_the_gate_refuses(
    make_run: Callable[..., Run],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
) -> None:
    variants = {"good": make_variant(1), "bad": make_variant(2, gate=make_gate(False))}
    found = decide([], variant_rows([make_run({}, variants=variants)], []), LIMIT)
    assert found.chosen is None
    assert [refusal.variant for refusal in found.refusals] == ["bad"]


def test_beyond_the_limit_the_lowest_p95_is_named_as_such(make_run: Callable[..., Run]) -> None:
    found = verdict(make_run(), limit=10.0)
    assert found.chosen is not None
    assert (found.chosen.variant, found.chosen.users) == ("onnx-int8", 1)
    assert not found.within_limit


def test_nothing_qualifies(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> None:
    cells = (
        make_cell("onnx-int8", "reference", 8, 50, wrong=1),
        make_cell("onnx-fp16", "reference", 1, 900),  # 22 answers
    )
    found = verdict(make_run({}, cells))
    assert found.chosen is None
    assert {refusal.reason for refusal in found.refusals} == {"no-valid-point"}


def test_the_best_point_within_the_limit_comes_before_a_cheaper_one_beyond(
    make_run: Callable[..., Run],
) -> None:
    speeds: Mapping[Any, Any] = {("onnx-int8", "reference"): {4: 100, 16: 200}}
    found = points([make_run(speeds)], "onnx-fp32", LIMIT)
    assert best_points(found, LIMIT)["onnx-int8", "reference"].users == 4
    assert best_points(found, 250.0)["onnx-int8", "reference"].users == 16
