"""Figures of a cell, its key, its JSON, and whether it is valid."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from cells import changed

from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.validity import doubts, is_disturbed, is_valid, summary

# 1 user, 10 ms each, 1000 answers in 10 seconds: Little's law holds, nothing to doubt.
POINT = Point("onnx-int8", "reference", Load(1))
CELL = Cell(POINT, 10.0, (10.0,) * 1000, "2026-01-01T00:00:05+00:00")


def test_figures_of_a_cell() -> None:
    assert (CELL.qps, CELL.mean_ms, CELL.percentile_ms(95)) == (100.0, 10.0, 10.0)
    assert (CELL.failed, CELL.requests, doubts(CELL), is_valid(CELL)) == (0, 1000, [], True)


def test_a_batch_has_several_sentences_in_a_request() -> None:
    cell = changed(CELL, batch=8)
    assert (cell.qps, cell.sentences_per_second) == (100.0, 800.0)


def test_failures_and_wrong_answers_are_requests_but_no_throughput() -> None:
    cell = changed(CELL, failures={"HTTP 503": 40, "timeout": 20}, wrong=3)
    assert (cell.failed, cell.requests, cell.qps) == (60, 1063, 100.0)


def test_failures_and_wrong_answers_are_infinitely_slow() -> None:
    failing = changed(CELL, failures={"503": 40, "timeout": 20})
    assert failing.percentile_ms(50) == 10.0
    assert failing.percentile_ms(95) == math.inf
    assert changed(CELL, wrong=60).percentile_ms(95) == math.inf


def test_too_few_answers_have_no_percentile() -> None:
    few = changed(CELL, seconds=1.29, latencies_ms=(10.0,) * 129)
    assert few.percentile_ms(95) is None
    assert few.percentile_ms(50) == 10.0


def test_answers_in_time_are_counted_the_limit_included() -> None:
    cell = changed(CELL, latencies_ms=(10.0,) * 600 + (20.0,) * 300 + (20.001,) * 100)
    assert cell.in_time(20.0) == 900
    assert cell.in_time(5.0) == 0


def test_energy_of_a_request() -> None:
    assert changed(CELL, joules=250.0).joules_per_request == 0.25
    assert CELL.joules_per_request is None
    assert changed(CELL, joules=250.0, latencies_ms=()).joules_per_request is None


def test_a_cell_without_answers_has_no_mean() -> None:
    empty = changed(CELL, latencies_ms=(), failures={"refused": 5})
    assert math.isnan(empty.mean_ms)
    assert (empty.qps, empty.percentile_ms(95), is_valid(empty)) == (0.0, None, False)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"variant": "b"}, False),
        ({"stack": "article"}, False),
        ({"users": 2}, False),
        ({"rate": 5.0}, False),
        ({"tokens": 16}, False),
        ({"batch": 2}, False),
        ({"cores": 1}, False),
        ({"repeat": 2}, False),
        ({"stage": "probe"}, False),
        ({"asked": (("streams", 1),)}, False),
        ({"attempt": 2}, True),
        ({"started": "later"}, True),
    ],
)
def test_the_point_tells_cells_apart_and_not_their_attempts(
    change: dict[str, Any], same: bool
) -> None:
    assert (changed(CELL, **change).point == CELL.point) is same


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"users": 16, "repeat": 2}, True),
        ({"rate": 5.0}, False),
        ({"tokens": 16}, False),
        ({"batch": 2}, False),
        ({"cores": 1}, False),
    ],
)
def test_plain_cells_are_those_of_the_articles_table(change: dict[str, Any], plain: bool) -> None:
    assert changed(CELL, **change).load.plain is plain


WRONG, STOLEN, BUSY = {"wrong": 1}, {"steal_percent": 9.0}, {"other_cpu_percent": 50.0}


@pytest.mark.parametrize(
    ("change", "valid", "disturbed"),
    [
        ({}, True, False),
        ({"steal_percent": 3.0}, True, False),  # doubtful only
        (STOLEN, False, True),
        (STOLEN | BUSY, False, True),
        (WRONG, False, False),
        (WRONG | STOLEN, False, False),  # measuring again would not help
        (STOLEN | {"users": 2}, False, True),  # Little's law fails: the generator's fault
        (STOLEN | {"throttled_percent": 60.0}, False, False),  # the quota is as it is
        (STOLEN | {"failures": {"503": 1}}, False, True),  # a failure within bounds
    ],
)
def test_disturbed_is_invalid_by_outside_causes_alone(
    change: dict[str, Any], valid: bool, disturbed: bool
) -> None:
    cell = changed(CELL, **change)
    assert (is_valid(cell), is_disturbed(cell)) == (valid, disturbed)


def test_warnings_are_given_as_a_list_of_ones_own() -> None:
    cell = changed(CELL, wrong=1)
    doubts(cell).clear()
    assert [warn.code for warn in doubts(cell)] == ["wrong-answers"]


def test_the_json_object_of_a_cell_is_strict_json() -> None:
    cell = changed(CELL, failures={"503": 60}, users=0, rate=101.5, tokens=16)
    data = json.loads(json.dumps(summary(cell), allow_nan=False))
    assert (data["p50_ms"], data["p90_ms"], data["p95_ms"]) == (10.0, 10.0, None)
    assert (data["mode"], data["rate"], data["tokens"], data["batch"]) == ("open", 101.5, 16, 1)
    assert (data["qps"], data["failed"], data["wrong"], data["valid"]) == (100.0, 60, 0, False)
    assert [warn["code"] for warn in data["warnings"]] == ["failures"]
    assert "latencies_ms" not in data
