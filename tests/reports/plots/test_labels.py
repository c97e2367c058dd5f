"""Labels: apart from each other, in their order, inside their space; text that finds no room."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tiankong.reports.plots.drawing import Said, canvas, svg
from tiankong.reports.plots.labels import Box, Placer, within
from tiankong.reports.plots.lettering import text_width
from tiankong.reports.plots.palette import INK


@pytest.mark.parametrize(
    "heights",
    [[10.0, 50.0, 11.0, 12.0, 55.0], [99.0] * 8, [0.0] * 8, [40.0, 41.0, 99.0, 98.0, 1.0]],
)
def test_names_are_apart_in_their_order_and_inside(heights: list[float]) -> None:
    moved = within(heights, 6.0, 0.0, 100.0)
    assert all(after - before >= 6.0 - 1e-9 for before, after in pairwise(sorted(moved)))
    assert 0.0 <= min(moved) <= max(moved) <= 100.0
    order = sorted(range(len(heights)), key=lambda place: (heights[place], place))
    assert sorted(range(len(heights)), key=moved.__getitem__) == order


def test_names_that_do_not_fit_stay_apart() -> None:
    moved = within([50.0] * 30, 6.0, 0.0, 100.0)
    assert all(after - before >= 6.0 - 1e-9 for before, after in pairwise(sorted(moved)))


def test_a_line_cuts_a_box_or_passes_it() -> None:
    box = Box(10, 10, 20, 20)
    assert box.is_cut((0, 0), (30, 30))
    assert box.is_cut((12, 12), (13, 13))
    assert box.is_cut((15, 0), (15, 30))
    assert not box.is_cut((0, 25), (30, 25))
    assert not box.is_cut((0, 21), (9, 30))
    assert not box.is_cut((0, 0), (9, 9))


def test_text_is_written_where_nothing_is_or_not_at_all() -> None:
    with canvas(100, 100) as figure:
        crossed = [((x, 0.0), (x, 100.0)) for x in map(float, range(0, 100, 3))]
        assert not Placer(figure, Box(0, 0, 100, 100), [], crossed).place("16", (50, 50), INK, 1)
        placer = Placer(figure, Box(0, 0, 100, 100), [], [])
        assert placer.place("16", (50, 50), INK, 1)
        assert placer.place("32", (50, 50), INK, 2)
        assert not placer.boxes[0].meets(placer.boxes[1])
        assert svg(figure, Said("t", "t", "t")).count("<text") == 2


def test_a_character_that_the_layouts_font_lacks_is_given_an_em() -> None:
    assert text_width("阿里云", 12.0) == 36.0
    assert text_width("阿里云", 12.0, bold=True) == 36.0
    assert 12.0 < text_width("🙂", 12.0) < 20.0
    assert 3.0 < text_width("i", 12.0) < text_width("W", 12.0) < 12.0
