"""Prices: the shipped file, and files that must be refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.reports.facts.prices import HOURS_PER_MONTH, read_prices
from tiankong.toolkit.errors import UnusableInputError

GOOD = """
[sources.a]
title = "a list"
[[price]]
cloud = "C"
type = "t.small"
kind = "second-hand"
currency = "CNY"
per_hour = 0.5
vcpu = 2
architecture = "x86_64"
source = "a"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "p.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_prices_hold_the_quoted_ones_and_every_list_price() -> None:
    prices = read_prices()
    quoted = {price.type: price.monthly for price in prices if price.kind == "quoted"}
    assert quoted == {"ecs.c6.large": 700, "DistilBERT deployment": 1200, "T4 instance": 3500}
    listed = [price for price in prices if price.kind == "second-hand"]
    assert len(listed) == 20
    assert {price.currency for price in listed if price.cloud == "Alibaba"} == {"CNY"}
    assert {price.currency for price in listed if price.cloud != "Alibaba"} == {"USD"}
    c6 = next(price for price in listed if price.type == "ecs.c6.large")
    assert c6.monthly == pytest.approx(284.70)
    assert "priceserver" in c6.source.title


def test_a_month_is_computed_from_hours(tmp_path: Path) -> None:
    (price,) = read_prices(written(tmp_path, GOOD))
    assert price.monthly == 0.5 * HOURS_PER_MONTH == 365


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("per_hour = 0.5", "per_hour = -1"), "'per_hour' = -1 is not above zero"),
        (("per_hour = 0.5", "per_hour = nan"), "not above zero"),
        (("per_hour = 0.5", "per_hour = inf"), "not above zero"),
        (("per_hour = 0.5", "per_hour = true"), "not a number"),
        (("per_hour = 0.5", ""), "either 'per_hour' or 'per_month'"),
        (("per_hour = 0.5", "per_hour = 1\nper_month = 2"), "either 'per_hour' or 'per_month'"),
        (("CNY", "yuan"), "currency 'yuan'"),
        (('"second-hand"', '"guess"'), "unknown kind 'guess'; known: quoted, second-hand"),
        (('source = "a"', 'source = "z"'), "unknown source 'z'; known: a"),
        (("vcpu = 2", "vcpu = 2.5"), "not a whole number"),
        (("vcpu = 2", "vcpus = 2"), "unknown key 'vcpus'"),
        (('"x86_64"', '"x86"'), "unknown architecture 'x86'"),
        (('cloud = "C"', ""), "'cloud' is missing"),
    ],
)
def test_a_broken_entry_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = written(tmp_path, GOOD.replace(*change))
    with pytest.raises(UnusableInputError, match=r"p\.toml, price 1") as caught:
        read_prices(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not TOML"),
        ("", "[sources] is not a table"),
        ("[sources]\nprice = 3", "source"),
        (GOOD.split("[[price]]", maxsplit=1)[0], "no [[price]]"),
        (GOOD + GOOD[GOOD.index("[[price]]") :], "C t.small (second-hand) is there twice"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UnusableInputError) as caught:
        read_prices(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="does not exist"):
        read_prices(tmp_path / "none.toml")
