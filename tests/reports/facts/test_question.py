"""The question: its defaults, and what the reader may say."""

from __future__ import annotations

import pytest

from tiankong.reports.facts.costs import MeasuredMachine
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import (
    HEADROOM,
    INSTANCES,
    NO_WISHES,
    RANK,
    UTILISATION,
    Wishes,
    find_price,
    question,
)
from tiankong.toolkit.errors import UnusableInputError

BENCH = MeasuredMachine(2, "x86_64", 1)
PRICES = read_prices()


def test_the_defaults_are_the_articles_objective_and_its_quoted_price() -> None:
    asked = question(NO_WISHES, 130.0, PRICES, BENCH)
    assert (asked.rank, asked.limit_ms, asked.load) == (RANK, 130.0, None)
    assert (asked.headroom, asked.utilisation, asked.instances) == (
        HEADROOM,
        UTILISATION,
        INSTANCES,
    )
    assert asked.price is not None
    assert (asked.price.type, asked.price.kind, asked.price.monthly) == (
        "ecs.c6.large",
        "quoted",
        700,
    )
    assert asked.stated == frozenset()


def test_what_the_reader_says_is_taken_and_noted() -> None:
    asked = question(Wishes("P99=0.2s", 0.0, 0.0, 1.0, 3, "c7i.large"), 130.0, PRICES, BENCH)
    assert (asked.rank, asked.limit_ms, asked.load) == (99, 200.0, 0.0)
    assert (asked.headroom, asked.utilisation, asked.instances) == (0.0, 1.0, 3)
    assert asked.price is not None
    assert asked.price.currency == "USD"
    assert asked.stated == {"slo", "load", "headroom", "utilisation", "instances", "price"}


@pytest.mark.parametrize(
    ("text", "kind", "monthly"),
    [
        ("ecs.c6.large", "quoted", 700.0),
        ("Alibaba ECS.c6.large", "quoted", 700.0),
        ("ecs.c6.large/second-hand", "second-hand", 0.39 * 730),
        ("ecs.c6.large=512.5", "given", 512.5),
        ("ecs.c6.large/second-hand=9", "given", 9.0),
    ],
)
def test_a_price_is_named_by_type_kind_or_amount(text: str, kind: str, monthly: float) -> None:
    found = find_price(text, PRICES, BENCH)
    assert (found.kind, found.monthly) == (kind, monthly)


@pytest.mark.parametrize(
    "text", ["", "=5", "ecs.c6.large=0", "ecs.c6.large=-3", "ecs.c6.large=inf", "ecs/nothing"]
)
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UnusableInputError, match="--price"):
        find_price(text, PRICES, BENCH)


def test_another_architecture_has_its_own_default() -> None:
    asked = question(NO_WISHES, 130.0, PRICES, MeasuredMachine(2, "aarch64", 1))
    assert asked.price is not None
    assert asked.price.type == "c7g.large"
    assert question(NO_WISHES, 130.0, PRICES, MeasuredMachine(2, "riscv64", 1)).price is None
