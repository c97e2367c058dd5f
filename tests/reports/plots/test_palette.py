"""The palette: contrast on light and on dark paper, and how the colours get into a page."""

from __future__ import annotations

from itertools import combinations

import pytest

from tiankong.reports.plots.palette import (
    ACCENTS,
    COLOURS,
    PAPER,
    SHARES,
    SOFT,
    Colour,
    dark_style,
    style,
)

TEXT = 4.5  # WCAG 2.2, 1.4.3; lines and markers need 3:1 (1.4.11)
LEAST_DIFFERENCE = 40.0  # of two accents, in sRGB steps


def parts(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def luminance(colour: str) -> float:
    channels = [value / 255 for value in parts(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", COLOURS[1:], ids=lambda colour: colour.name)
def test_every_colour_is_read_on_both_papers(colour: Colour) -> None:
    assert contrast(colour.light, PAPER.light) >= TEXT
    assert contrast(colour.dark, PAPER.dark) >= TEXT


def test_colours_are_told_apart() -> None:
    for one, other in combinations((*ACCENTS, SOFT), 2):
        for here, there in ((one.light, other.light), (one.dark, other.dark)):
            distance = sum((a - b) ** 2 for a, b in zip(parts(here), parts(there), strict=True))
            assert distance**0.5 > LEAST_DIFFERENCE, (one.name, other.name)
    assert len({colour.light for colour in COLOURS}) == len(COLOURS)
    assert not {colour.light for colour in SHARES} & {colour.light for colour in ACCENTS}


def test_a_page_gets_every_colour_as_a_custom_property() -> None:
    for colour in COLOURS:
        assert f"--picture-{colour.name}:{colour.light}" in style()
        assert f".s-{colour.name}{{stroke:var(--picture-{colour.name})}}" in style()
    assert "@media screen and (prefers-color-scheme:dark)" in style()  # a print stays light


def test_a_file_gets_the_colours_it_uses() -> None:
    used = dark_style('<path class="s-first"/>')
    assert ACCENTS[0].dark in used
    assert PAPER.dark in used
    assert ACCENTS[1].dark not in used
