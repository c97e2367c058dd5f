"""What a picture of cost against latency shows, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...facts.front import CostPoint, cost_points, front
from ...facts.points import Series
from ...facts.report import Report
from ...facts.standing import Standing
from ...plots.cost import CostView, CostWords
from ...plots.looks import Look
from ...text import figures
from ...text.language import Language


def priced_points(report: Report, standing: Standing) -> tuple[CostPoint, ...]:
    """Return the points with a latency and a cost; none if no price fits the measured machine."""
    if standing.price is None:
        return ()
    return cost_points(report.points, standing.rank, standing.price, report.bench)


def cost_view(
    every: Sequence[CostPoint], standing: Standing, series: Sequence[Series]
) -> CostView | None:
    """Return what is drawn of these points and series; None if there is no point."""
    points = {one: own for one in series if (own := [p for p in every if p.point.series == one])}
    if not points:
        return None
    best = front([p for p in every if p.point.variant not in standing.refused])
    return CostView(points, best, standing.chosen, standing.limit_ms, standing.refused)


def cost_words(standing: Standing, looks: Mapping[Series, Look], language: Language) -> CostWords:
    """Return the picture's words."""
    assert standing.price is not None, "without a price there is no cost"
    say, rank, chosen, at = language.say, standing.rank, standing.chosen, ""
    if chosen is not None:
        name, users = looks[chosen.series].name, language.count(chosen.users)
        at = say("picture.at", name=name, users=users)
    return CostWords(
        say("picture.cost", currency=standing.price.currency),
        say("picture.percentile_ms", rank=rank),
        say("picture.front"),
        say("picture.objective", rank=rank, limit=figures.unrounded(standing.limit_ms)),
        say("picture.chosen", name=at) if at else "",
    )
