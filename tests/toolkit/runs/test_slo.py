from __future__ import annotations

from typing import Any

import pytest

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.slo import LEAST, parse_slo, rough_percentile


def cell(*latencies: float, **changes: Any) -> Cell:
    return Cell(Point("a", "reference", Load(1)), 10.0, latencies, "", **changes)


def mixed(fast: int, slow: int, **changes: Any) -> Cell:
    """Return a cell with answers of 10 ms and of 200 ms."""
    return cell(*[10.0] * fast, *[200.0] * slow, **changes)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("p95=100ms", ((95, 100.0),)),
        ("p99=0.5s", ((99, 500.0),)),
        ("P95 = 100 MS", ((95, 100.0),)),
        ("p99=0.5s,p50=20ms", ((50, 20.0), (99, 500.0))),
        ("p50=1.25ms, p90=2ms, p95=3ms, p99=4ms", ((50, 1.25), (90, 2), (95, 3), (99, 4))),
    ],
)
def test_an_objective_is_limits_by_percentile(
    text: str, limits: tuple[tuple[int, float], ...]
) -> None:
    slo = parse_slo(text)
    assert slo.limits_ms == limits
    assert slo.text == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("fast", "'fast'"),
        ("p95", "'p95'"),
        ("p95=100", "'p95=100'"),
        ("p95<100ms", "'p95<100ms'"),
        ("p95=100m", "'p95=100m'"),
        ("p95=-5ms", "'p95=-5ms'"),
        ("p95=0ms", "'p95=0ms'"),
        ("p95=0.0s", "'p95=0.0s'"),
        ("p95=.5s", "'p95=.5s'"),
        ("p95=nanms", "'p95=nanms'"),
        ("p98=100ms", "'p98=100ms'"),
        ("p95=100ms,", "''"),
        ("p95=100ms,p95=200ms", "'p95=200ms'"),
        ("p50=5ms;p95=100ms", "'p50=5ms;p95=100ms'"),
    ],
)
def test_what_is_no_objective_is_named(text: str, part: str) -> None:
    with pytest.raises(UnusableInputError, match="is no objective: write p95=100ms") as caught:
        parse_slo(text)
    assert str(caught.value).startswith(part)


SLO = parse_slo("p95=100ms")


def test_the_limit_itself_is_held() -> None:
    assert SLO.held(cell(*[100.0] * 200))
    assert not SLO.held(cell(*[100.001] * 200))


def test_one_in_twenty_may_be_slower() -> None:
    assert SLO.held(mixed(950, 50))
    assert not SLO.held(mixed(949, 51))


def test_every_limit_must_be_held() -> None:
    both = parse_slo("p50=20ms,p95=100ms")
    assert both.held(mixed(950, 50))
    assert not both.held(mixed(900, 100))
    assert not both.held(cell(*[50.0] * 200))


def test_failures_are_infinitely_slow() -> None:
    slo = parse_slo("p99=100ms")
    assert slo.held(mixed(990, 10))
    assert not slo.held(mixed(990, 10, failures={"503": 1}))
    assert rough_percentile(mixed(94, 0, failures={"503": 6}), 95) == float("inf")
    assert rough_percentile(mixed(94, 0, wrong=6), 95) == float("inf")


def test_more_failures_than_a_valid_cell_may_have_break_every_objective() -> None:
    assert SLO.held(mixed(999, 0, failures={"503": 1}))
    assert not SLO.held(mixed(998, 0, failures={"503": 1}))
    assert SLO.kept([mixed(999, 0, failures={"503": 1})]) is True
    assert SLO.kept([mixed(2000, 0), mixed(998, 0, failures={"503": 1})]) is False


def test_one_wrong_answer_breaks_every_objective() -> None:
    assert not SLO.held(mixed(10_000, 0, wrong=1))
    assert SLO.kept([mixed(10_000, 0), mixed(10_000, 0, wrong=1)]) is False


def test_a_first_look_needs_a_few_answers_only() -> None:
    assert not SLO.held(cell(*[1.0] * (LEAST - 1)))
    assert SLO.held(cell(*[1.0] * LEAST))
    assert not SLO.held(cell())


def test_repeats_are_taken_together() -> None:
    assert SLO.kept([mixed(100, 0), mixed(90, 10)]) is True
    assert SLO.kept([mixed(100, 0), mixed(89, 11)]) is False


def test_the_confirmation_needs_the_full_sample() -> None:
    assert SLO.kept([mixed(65, 0), mixed(64, 0)]) is None
    assert SLO.kept([mixed(65, 0), mixed(65, 0)]) is True
    both = parse_slo("p95=100ms,p99=100ms")
    assert both.kept([mixed(659, 0)]) is None
    assert both.kept([mixed(660, 0)]) is True


def test_too_few_answers_that_are_wrong_are_no_question() -> None:
    assert SLO.kept([mixed(10, 0, wrong=1)]) is False


def test_failures_count_in_the_confirmation_too() -> None:
    slo = parse_slo("p99=100ms")
    assert slo.kept([mixed(1980, 18, failures={"503": 1})]) is True  # the 1980th of 1999 is fast
    assert slo.kept([mixed(1979, 19, failures={"503": 1})]) is False
