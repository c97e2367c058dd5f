"""How throughput and latency change along the scaling axes: one table an axis."""

from __future__ import annotations

import math

from ..facts.estimates import Estimate
from ..facts.history.pooling import software
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..facts.scaling import Axis
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Entry, Section, Table
from .history import differences
from .pictures.pictures import growth
from .points import Show, grid, interval_note, other_grid, repeats

COLUMNS = ("level", "sentences", "growth", "p50", "slower", "p95", "server_cpu")


def scaling(report: Report, language: Language) -> Section | None:
    """Show how throughput and latency change along each axis that has points."""
    if not (report.scaling.axes or report.scaling.others):
        return None
    facts, say = report.scaling, language.say
    grids = axis_grids(report, language)
    if facts.others:
        grids += (other_grid(facts.others, language),)
    separator = str(language.words["list"])
    axes = (say(f"axis.{axis.name}") for axis in facts.axes)
    all_points = (*facts.points, *facts.others)
    return Section(
        "scaling",
        say("heading.scaling"),
        (say("scaling.lead"), *_earlier(report, language)),
        grids,
        growth(report, language),
        notes=(say("scaling.note"), *interval_note(all_points, language)),
        gist=say("gist.scaling", points=len(all_points), axes=separator.join(axes)),
    )


def _earlier(report: Report, language: Language) -> tuple[str, ...]:
    """Say of growth measured with other software than the answer which run it is of."""
    if not report.growth_runs:
        return ()
    first = report.growth_runs[0].header
    return (
        language.say(
            "scaling.earlier",
            run=language.listed(run.header.run for run in report.growth_runs),
            date=first.started[:10],
            differs=differences(software(first, report.header), language),
        ),
    )


def axis_grids(report: Report, language: Language) -> tuple[Table, ...]:
    """Return a table an axis: throughput and latency, also relative to the lowest level."""
    return tuple(_axis_grid(axis, language) for axis in report.scaling.axes)


def _axis_grid(axis: Axis, language: Language) -> Table:
    def level(point: MeasuredPoint, language: Language) -> Entry:
        return Entry(str(axis.level(point)), repeats(point, language))

    more: dict[str, Show] = {
        "level": level,
        "growth": lambda point, _: _ratio(point.sentences, axis.base(point).sentences),
        "slower": lambda point, _: _ratio(point.p50_ms, axis.base(point).p50_ms),
    }
    table = grid(axis.points, COLUMNS, language, phrases.axis(axis, language), more)
    heads = (table.columns[0], language.say(f"axis.{axis.name}"), *table.columns[2:])
    return Table(heads, table.rows, table.caption, table.words)


def _ratio(value: Estimate | None, base: Estimate | None) -> Entry:
    if value is None or base is None or not base.value or math.isinf(base.value):
        return Entry(figures.NONE, tone="muted")
    return Entry(figures.significant(value.value / base.value))
