"""Comma-separated names, shares, durations."""

from __future__ import annotations

import pytest

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.options import duration, names, share


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("a", ["a"]), ("a,b", ["a", "b"]), (" a , b ,, ", ["a", "b"]), ("b,a", ["b", "a"])],
)
def test_names_of_a_list(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5%", 0.05), ("0.05", 0.05), ("2.5%", 0.025), (" 5% ", 0.05), ("99.9%", 0.999), ("0.5", 0.5)],
)
def test_a_share_is_a_percentage_or_a_fraction(text: str, expected: float) -> None:
    assert share(text) == pytest.approx(expected)


def test_nothing_is_no_share() -> None:
    assert share("") is None


@pytest.mark.parametrize(
    "text",
    ["5", "1", "0", "0%", "100%", "-5%", "5 %", "five", "%", ".05", "5%%", "nan", "1e-2", " "],
)
def test_what_is_no_share_between_none_and_all_is_refused(text: str) -> None:
    with pytest.raises(UnusableInputError, match=r"is no share: write 5% or 0\.05"):
        share(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("90s", 90), ("600", 600), ("1.5 min", 90), ("2h", 7200), (" 5m ", 300)],
)
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "-5m", "5 weeks", "ten", "1m30s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UnusableInputError, match="write 10m or 600s"):
        duration(text)
