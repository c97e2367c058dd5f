"""Looks: one colour and one name a variant, the same on every picture of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..facts.points import MeasuredPoint, Series
from ..facts.report import Report
from ..facts.standing import Standing
from ..text.language import Language
from ..text.phrases import name
from .palette import ACCENTS, SOFT, Colour

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h", "<", ">", "p")
USUAL_STACK = "reference"
DASHES: Mapping[str, tuple[float, ...]] = {
    "article": (5, 2),
    "ray": (1, 1.5),
    "target": (7, 2, 1, 2),
}


@dataclass(frozen=True)
class Look:
    """How a series is drawn in every picture.

    The colour is the variant's, the dashes are the stack's (empty: a solid line).  ``stands_out``:
    drawn bold, before the others.  ``number`` tells series apart in the SVG.
    """

    name: str
    colour: Colour
    marker: str
    dashes: tuple[float, ...]
    stands_out: bool
    number: int


def looks(report: Report, standing: Standing, language: Language) -> dict[Series, Look]:
    """Return the look of each series of a report; what stands out comes first."""
    measured = dict.fromkeys(point.series for point in report.shown_points)
    bare = [(row.name, USUAL_STACK) for row in report.variants]  # never measured, but built
    every = [*measured, *(series for series in bare if series not in measured)]
    order = sorted(every, key=lambda series: _rank(series, standing))
    markers = {variant: place for place, variant in enumerate(dict.fromkeys(v for v, _ in order))}
    return {
        series: Look(
            name(series, language),
            ACCENTS[standing.variants.index(series[0])] if series[0] in standing.variants else SOFT,
            MARKERS[markers[series[0]] % len(MARKERS)],
            DASHES.get(series[1], ()),
            series in standing.series,
            number,
        )
        for number, series in enumerate(order)
    }


def _rank(series: Series, standing: Standing) -> tuple[bool, int, bool]:
    variants = standing.variants
    place = variants.index(series[0]) if series[0] in variants else len(variants)
    return series not in standing.series, place, series[1] != USUAL_STACK


def fewer(
    points: Sequence[MeasuredPoint], looks: Mapping[Series, Look], most: int
) -> tuple[tuple[Series, ...], int]:
    """Return the series of points to draw, at most ``most``, and how many others are left out.

    First come those that stand out, then each variant's fastest, the fastest of all first.
    """
    speed: dict[Series, float] = {}
    for point in points:
        speed[point.series] = max(speed.get(point.series, 0.0), point.qps.value)
    if len(speed) <= most:
        return tuple(series for series in looks if series in speed), 0
    fastest: dict[str, Series] = {}
    for series in sorted(speed, key=lambda series: -speed[series]):
        fastest.setdefault(series[0], series)
    outstanding = [series for series in looks if series in speed and looks[series].stands_out]
    wanted = dict.fromkeys([*outstanding, *fastest.values()])
    drawn = set(list(wanted)[:most])
    return tuple(series for series in looks if series in drawn), len(speed) - len(drawn)
