"""Numbers formatted for readers."""

from __future__ import annotations

import pytest

from tiankong.reports.text import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (99.96, "100"),
        (999.6, "1000"),
        (1234.4, "1234"),
        (0.00123456, "0.00123"),
        (-2.5, "-2.50"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert figures.significant(value) == text


def test_money_rounds_halves_up_as_an_invoice_does() -> None:
    assert figures.amount(0.0725 * 730) == "52.93"
    assert figures.amount(0.39 * 730) == "284.70"


def test_sizes() -> None:
    assert figures.megabytes(409_100_000) == "409"
    assert figures.mebibytes(915 * 1024**2) == "915"
