"""Costs computed by hand, and prices of machines that the measurement says nothing about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tiankong.reports.facts.costs import (
    MeasuredMachine,
    cheaper_percent,
    cost,
    per_million,
    yardsticks,
)
from tiankong.reports.facts.prices import Price, Source, read_prices
from tiankong.reports.facts.question import default_price

BENCH = MeasuredMachine(cores=4, architecture="x86_64", threads_per_core=1)
PRICE = Price(
    "C",
    "t",
    "quoted",
    "CNY",
    Source("s", "a source"),
    per_month=730.0,
    vcpu=2,
    architecture="x86_64",
    threads_per_core=2,
)


def test_a_million_requests_by_hand() -> None:
    # 100 a second are 360,000 an hour; 730 for 730 hours is 1 an hour: 1 / 0.36 a million.
    assert per_million(730.0, 100.0) == pytest.approx(1 / 0.36)


def test_qps_is_scaled_by_cores() -> None:
    found = cost(PRICE, 200.0, BENCH)  # 4 cores measured, 2 priced: 100 a second
    assert found is not None
    assert found.per_million == pytest.approx(1 / 0.36)


@pytest.mark.parametrize(
    ("measured", "priced", "optimistic"),
    [(1, 2, True), (2, 2, False), (1, 1, False), (None, 2, False), (1, None, False)],
)
def test_threads_sold_against_whole_cores_measured_are_optimistic(
    measured: int | None, priced: int | None, optimistic: bool
) -> None:
    price = replace(PRICE, threads_per_core=priced)
    found = cost(price, 10.0, replace(BENCH, threads_per_core=measured))
    assert found is not None
    assert found.optimistic is optimistic


@pytest.mark.parametrize(
    "change", [{"accelerator": "T4"}, {"architecture": "aarch64"}, {"vcpu": None}]
)
def test_what_was_not_measured_has_no_cost(change: dict[str, str | None]) -> None:
    assert cost(replace(PRICE, **change), 10.0, BENCH) is None  # type: ignore[arg-type]


def test_the_yardsticks_are_the_quoted_price_and_its_list_price() -> None:
    found = yardsticks(read_prices(), default_price(read_prices(), BENCH))
    assert [(price.name, price.kind) for price in found] == [
        ("Alibaba ecs.c6.large", "quoted"),
        ("Alibaba ecs.c6.large", "second-hand"),
    ]
    assert len({price.currency for price in found}) == 1


def test_without_a_quoted_price_the_first_that_fits_is_the_yardstick() -> None:
    listed = replace(PRICE, kind="second-hand")
    other = replace(listed, accelerator="T4")
    assert default_price([other, listed, listed], BENCH) == listed
    assert yardsticks([other, listed], listed) == (listed,)
    assert default_price([other], BENCH) is None
    assert yardsticks([other], None) == ()


def test_the_articles_saving_is_computed_from_its_own_prices() -> None:
    prices = read_prices()
    quoted, listed = yardsticks(prices, default_price(prices, BENCH))
    assert cheaper_percent(quoted, prices) == pytest.approx(80.0)
    assert cheaper_percent(listed, prices) == pytest.approx((1 - 0.39 / 11.63) * 100)
    assert cheaper_percent(quoted, [quoted]) is None
