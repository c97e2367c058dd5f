"""Trend: the picture of how speed changed from measurement to measurement."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from ...facts.capacity import percentile_of
from ...facts.estimates import Estimate
from ...facts.history.history import History, Trend
from ...facts.points import MeasuredPoint
from ...facts.report import Report
from ...plots.lines import Curve, Panel, Spot, line_picture
from ...text import figures
from ...text.language import Language
from ...text.tables import Picture
from .view import View

DATE, MINUTE = len("2026-01-01"), len("2026-01-01T00:00")


def trend_picture(
    report: Report, told: History, trends: Sequence[Trend], language: Language
) -> tuple[Picture, ...]:
    """Return the picture of trends, requests a second above the percentile, if there are any."""
    view = View.of(report, language)
    drawn = [trend for trend in trends if trend.steps[-1].point.series in view.looks]
    if not drawn:
        return ()
    rank = view.standing.rank
    ticks = tuple((float(place), name) for place, name in enumerate(_names(told)))
    panels = [
        Panel(view.say("trend_qps"), "", ticks, tuple(_curves(view, drawn, lambda p: p.qps))),
        Panel(
            view.say("trend_percentile", rank=rank), view.say("measurements"), ticks,
            tuple(_curves(view, drawn, lambda point: percentile_of(point, rank))),
        ),
    ]  # fmt: skip
    said = [_seen(view, trend) for trend in drawn]
    panels = [panel for panel in panels if panel.curves]
    return (view.picture("trend", said, lambda picture: line_picture(panels, picture)),)


def _names(told: History) -> list[str]:
    """Return the day of each measurement, with the time where a day has several."""
    days = [snapshot.header.started[:DATE] for snapshot in told.snapshots]
    several = len(set(days)) < len(days)
    moments = (snapshot.header.started[:MINUTE] for snapshot in told.snapshots)
    return [moment.replace("T", " ") for moment in moments] if several else days


def _curves(
    view: View, trends: Sequence[Trend], value: Callable[[MeasuredPoint], Estimate | None]
) -> Iterator[Curve]:
    for trend in trends:
        spots = tuple(
            Spot(float(step.place), found.value, found.ends, step.point.valid)
            for step in trend.steps
            if (found := value(step.point)) is not None and 0 < found.value < math.inf
        )
        if spots:
            yield Curve(view.looks[trend.steps[-1].point.series], spots)


def _seen(view: View, trend: Trend) -> str:
    first, last = trend.steps[0].point, trend.steps[-1].point
    return view.language.say(
        "shown.trend",
        name=view.looks[last.series].name,
        users=view.language.count(last.users),
        first=figures.significant(first.qps.value),
        last=figures.significant(last.qps.value),
    )
