"""Points and their loads: as keys, and in words."""

from __future__ import annotations

import pytest

from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (Load(4), "4 users"),
        (Load(0, 40.5), "40.5 requests/s"),
        (Load(0, 40.0), "40 requests/s"),
        (Load(1, tokens=16), "1 users, 16 tokens"),
        (Load(1, batch=8, cores=2), "1 users, batches of 8, 2 cores"),
    ],
)
def test_a_point_in_words(load: Load, text: str) -> None:
    assert str(load) == text
    assert str(Point("a", "reference", load)) == f"a, {text}"
    assert str(Point("a", "article", load, 2, "probe")) == f"a on the article's server, {text}"


def test_what_a_table_gathers_in_one_row() -> None:
    row = Point("a", "reference", Load(4, tokens=16))
    asked = (("streams", 2),)
    for point in (row, Point("a", "reference", row.load, 3, "rung 1", asked)):
        assert point.gathered == row
    assert Point("a", "article", row.load).gathered != row
    assert Point("a", "reference", Load(4)).gathered != row


def test_a_load_is_open_plain_or_shaped() -> None:
    assert (Load(4).plain, Load(4).mode, Load(4).shaped) == (True, "closed", False)
    assert (Load(0, 5.0).plain, Load(0, 5.0).mode, Load(0, 5.0).shaped) == (False, "open", False)
    for load in (Load(1, tokens=16), Load(1, batch=2), Load(1, cores=1)):
        assert (load.plain, load.is_open, load.shaped) == (False, False, True)
