"""View: what all pictures of a report in one language share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...facts.estimates import CONFIDENCE_PERCENT, Estimate
from ...facts.points import MeasuredPoint, Series
from ...facts.report import Report
from ...facts.standing import Standing, standing
from ...plots.drawing import Said
from ...plots.lines import Curve, Spot
from ...plots.looks import Look, fewer, looks
from ...text import figures
from ...text.language import Language
from ...text.tables import Picture, Section

MOST = 24  # series in a picture; more are no longer told apart


def file_name(name: str, language: Language) -> str:
    """Return the file of a picture in a language."""
    return f"{name}.svg" if language.code == "en" else f"{name}.{language.code}.svg"


@dataclass(frozen=True)
class View:
    """A report in one language, with what stands out in it and how each series looks."""

    report: Report
    language: Language
    standing: Standing
    looks: Mapping[Series, Look]

    @classmethod
    def of(cls, report: Report, language: Language) -> View:
        """Return the view of a report in one language."""
        brought_out = standing(report)
        return cls(report, language, brought_out, looks(report, brought_out, language))

    def say(self, key: str, **values: object) -> str:
        """Return words of a picture."""
        return self.language.say(f"picture.{key}", **values)

    def picture(self, name: str, told: Sequence[str], draw: Callable[[Said], str]) -> Picture:
        """Draw a picture; ``told`` are the sentences that say what is to be seen on it."""
        title, alt = self.language.say(f"heading.{name}"), self.language.join(told)
        return Picture(file_name(name, self.language), title, alt, draw(Said(name, title, alt)))

    def section(
        self, name: str, told: Sequence[str], notes: Sequence[str], draw: Callable[[Said], str]
    ) -> Section:
        """Return the section of one picture; the first of ``told`` is its gist."""
        told = [sentence.replace("） ", "）") for sentence in told]  # it has a space of its own
        picture = self.picture(name, told, draw)
        gist = next(iter(told), "")
        return Section(name, picture.title, pictures=(picture,), notes=tuple(notes), gist=gist)

    def drawn(self, points: Sequence[MeasuredPoint]) -> tuple[list[Series], list[str]]:
        """Return the series to draw, and a sentence about those that are left out."""
        series, rest = fewer(points, self.looks, MOST)
        return list(series), [self.language.say("note.fewer", count=rest)] if rest else []

    def line_notes(self, points: Sequence[MeasuredPoint]) -> list[str]:
        """Return how to read lines of these points."""
        level = figures.percent(CONFIDENCE_PERCENT)
        if any(point.qps.ends for point in points):
            return [self.language.say("note.lines", level=level)]
        return [self.language.say("note.lines_single")]

    def users_ticks(self, points: Sequence[MeasuredPoint]) -> tuple[tuple[float, str], ...]:
        """Return places and names on an axis of users."""
        return tuple((across(n), str(n)) for n in sorted({point.users for point in points}))


def across(level: float) -> float:
    """Return the place of a level on an axis on which levels double from step to step."""
    return math.log2(level)


def curve_of(
    view: View, points: Sequence[MeasuredPoint],
    value: Callable[[MeasuredPoint], Estimate | None], *, minor: bool = False,
    level: Callable[[MeasuredPoint], float] = lambda point: across(point.users),
) -> list[Curve]:  # fmt: skip
    """Return the line of one series, or nothing if no point has the value."""
    spots = tuple(
        Spot(level(point), found.value, found.ends, point.valid)
        for point in points
        if (found := value(point)) is not None and 0 < found.value < math.inf
    )
    return [Curve(view.looks[points[0].series], spots, minor)] if spots else []
