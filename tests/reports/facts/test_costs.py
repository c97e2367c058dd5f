"""Costs computed by hand, and prices of machines that the measurement says nothing about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tiankong.reports.facts.costs import (
    MeasuredMachine,
    Offer,
    Range,
    accelerated,
    bound_without_speed,
    break_even,
    cost,
    instance_capacity,
    instances,
    instances_range,
    per_million,
    usable,
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


@pytest.mark.parametrize(
    ("load", "each", "least", "count"),
    [
        (0, 70, 1, 1),
        (0, 70, 3, 3),
        (1e-9, 70, 1, 1),
        (70, 70, 1, 1),
        (70.001, 70, 1, 2),
        (210, 70, 1, 3),
        (0.3, 0.1, 1, 3),  # 0.3 / 0.1 is above 3 in binary
        (10, 70, 2, 2),
        (1e6, 0.5, 1, 2_000_000),
    ],
)
def test_instances_are_whole_and_at_least_so_many(
    load: float, each: float, least: int, count: int
) -> None:
    assert instances(load, each, least) == count


def test_more_load_never_needs_fewer_instances() -> None:
    counts = [instances(load / 7, 13.0, 1) for load in range(2000)]
    assert counts == sorted(counts)
    assert all(count * 13.0 * (1 + 1e-8) >= place / 7 for place, count in enumerate(counts))


@pytest.mark.parametrize(
    ("measured", "priced", "ends"),
    [
        (1, 2, (20.0, 60.0)),  # whole cores measured, threads priced: half may be left
        (None, 2, (20.0, 60.0)),
        (2, 2, (40.0, 60.0)),
        (2, 1, (40.0, 120.0)),  # threads measured, whole cores priced: twice as much may come
        (1, 1, (40.0, 60.0)),
        (1, None, (40.0, 60.0)),
    ],
)
def test_a_vcpu_is_not_a_core(
    measured: int | None, priced: int | None, ends: tuple[float, float]
) -> None:
    price = replace(PRICE, threads_per_core=priced)
    bench = replace(BENCH, threads_per_core=measured)
    found = instance_capacity(Range(100.0, 80.0, 120.0), price, bench)  # 4 cores here, 2 vCPUs
    assert (found.value, found.low, found.high) == (50.0, *ends)


def test_the_ends_of_a_capacity_give_the_ends_of_a_number() -> None:
    assert instances_range(300.0, Range(70.0, 35.0, 100.0), 1) == (5, 3, 9)
    assert usable(100.0, 0.0) == 100.0


def test_a_break_even_is_the_first_load_at_which_the_other_costs_less() -> None:
    small, large = Offer(700.0, 70.0), Offer(3500.0, 600.0)
    found = break_even(small, large)
    assert found is not None
    loads = [load / 2 for load in range(0, 4000)]
    cheaper = [load for load in loads if large.month(load, 1) < small.month(load, 1)]
    assert found < cheaper[0] <= found + 0.5
    assert break_even(small, Offer(3500.0, 100.0)) is None  # five times the price, not the speed
    assert break_even(small, Offer(100.0, 70.0)) == 0.0
    assert break_even(small, small) is None
    # With two at least, two large ones are bought at once.
    assert break_even(small, large, least=2) == 700.0


def test_up_to_a_bound_no_speed_pays() -> None:
    small = Offer(700.0, 70.0)
    bound = bound_without_speed(small, 3500.0)
    assert bound == 350.0
    endless = Offer(3500.0, 1e12)
    assert break_even(small, endless) == bound
    assert endless.month(bound, 1) >= small.month(bound, 1)
    assert bound_without_speed(small, 600.0) == 0.0
    assert bound_without_speed(small, 3500.0, least=2) == 700.0


def test_a_readers_own_price_is_compared_with_any_kind_of_accelerator() -> None:
    own = replace(PRICE, kind="given", cloud="Alibaba")
    prices = read_prices()
    found = accelerated(own, prices)
    assert found is not None
    assert (found.accelerator, found.currency) == ("T4", "CNY")
    assert accelerated(replace(own, currency="EUR"), prices) is None
