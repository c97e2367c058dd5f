"""The article's prices and its "over 80 % cheaper": from its own figures, list prices and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tiankong.reports.facts.answer import Accelerated
from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.claims.findings import Finding
from tiankong.reports.facts.claims.savings import money
from tiankong.reports.facts.costs import Range
from tiankong.reports.facts.prices import Price, Source, read_prices
from tiankong.reports.facts.report import compose
from tiankong.toolkit.runs.run_file import Run

OURS = {("onnx-int8", "reference"): {8: 80.0}}  # 100 requests/s on two cores
SLOW = {("onnx-int8", "reference"): {8: 400.0}}  # over the article's limit


@pytest.fixture
def found_in(make_run: Callable[..., Run]) -> Callable[..., dict[str, Finding]]:
    def find(speeds: Any = OURS, prices: tuple[Price, ...] | None = None) -> dict[str, Finding]:
        priced = read_prices() if prices is None else prices
        report = compose([make_run(speeds)], read_article(), priced)
        return {found.claim: found for found in money(report)}

    return find


def sums(finding: Finding) -> dict[str, dict[str, Any]]:
    return {line.key: dict(line.values) for line in finding.sums}


def test_quoted_prices_are_held_to_list_prices(found_in: Callable[..., dict[str, Finding]]) -> None:
    found = found_in()
    assert [found[name].verdict for name in ("cpu_price", "gpu_price", "small_price")] == [
        "not-reproduced", "not-reproduced", "not-measured",
    ]  # fmt: skip
    assert sums(found["cpu_price"])["hours"]["times"] == pytest.approx(700 / 284.7)
    assert sums(found["gpu_price"])["hours"]["list_month"] == pytest.approx(8489.9)


def test_eighty_percent_is_not_over_eighty(found_in: Callable[..., dict[str, Finding]]) -> None:
    cheaper = found_in()["cheaper"]
    assert cheaper.verdict == "contradicts-itself"
    saved = {key: values["saved_percent"] for key, values in sums(cheaper).items()}
    assert saved == pytest.approx(
        {
            "saved_not": 80.0,
            "saved_small": (1 - 700 / 1200) * 100,
            "saved_listed": (1 - 0.39 / 11.63) * 100,
        }
    )


def test_the_load_of_its_table_takes_four_of_its_machines(
    found_in: Callable[..., dict[str, Finding]],
) -> None:
    work = sums(found_in()["cheaper_at_work"])
    assert work["at_work"]["machines"] == 4
    assert work["at_work"]["saved_percent"] == pytest.approx(20.0)
    assert work["ours_quoted"]["machines"] == 2  # 105 requests/s, 100 a machine
    assert work["ours_quoted"]["saved_percent"] == pytest.approx(60.0)
    assert work["ours_listed"]["saved_percent"] == pytest.approx((1 - 2 * 0.39 / 11.63) * 100)
    most = 11.63 * 0.2 / 0.39 * 100
    assert work["even"]["even"] == pytest.approx(most, rel=0.01)


def test_without_a_capacity_within_the_objective_nothing_is_said_of_ours(
    found_in: Callable[..., dict[str, Finding]],
) -> None:
    assert list(sums(found_in(SLOW)["cheaper_at_work"])) == ["at_work"]


def test_what_the_article_says_does_not_depend_on_the_readers_prices(
    found_in: Callable[..., dict[str, Finding]],
) -> None:
    own = Price("Mine", "box", "quoted", "CNY", Source("me", "contract"), per_month=1.0, vcpu=2)
    found = found_in(prices=(own,))
    assert found["cpu_price"].quoted["quoted_month"] == 700
    assert found["cpu_price"].verdict == "not-measured"
    assert list(sums(found["cheaper"])) == ["saved_not", "saved_small"]


def test_a_measured_accelerator_is_compared_request_for_request(
    make_run: Callable[..., Run],
) -> None:
    report = compose([make_run(OURS)], read_article(), read_prices())
    gpu = next(price for price in read_prices() if price.type == "ecs.gn6i-c4g1.xlarge")
    measured = Accelerated(gpu, 0.0, Range(1000.0, 900.0, 1100.0))
    report = replace(report, answer=replace(report.answer, accelerator=measured))
    work = sums(next(f for f in money(report) if f.claim == "cheaper_at_work"))
    assert "even" not in work
    saved = (1 - (0.39 / 100) / (11.63 / 1000)) * 100
    assert work["request_for_request"]["saved_percent"] == pytest.approx(saved)
