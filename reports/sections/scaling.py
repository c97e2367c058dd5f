"""How throughput and latency change along the scaling axes: one table an axis."""

from __future__ import annotations

import math

from ..facts.estimates import Estimate
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..facts.scaling import Axis
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Table, load
from .points import Show, grid, repeats

COLUMNS = ("level", "sentences", "growth", "p50", "slower", "p95", "server_cpu", "warnings")


def axis_grids(report: Report, language: Language) -> tuple[Table, ...]:
    """Return a table an axis: throughput and latency, also relative to the lowest level."""
    return tuple(_axis_grid(axis, language) for axis in report.scaling.axes)


def axis_name(axis: Axis, language: Language) -> str:
    """Return an axis's name for readers, with the load that stays the same along it."""
    fixed = load(axis.fixed, language) or language.say("scaling.plain")
    return language.say("scaling.caption", axis=language.say(f"axis.{axis.name}"), fixed=fixed)


def _axis_grid(axis: Axis, language: Language) -> Table:
    def level(point: MeasuredPoint, language: Language) -> Entry:
        return Entry(str(axis.level(point)), repeats(point, language))

    more: dict[str, Show] = {
        "level": level,
        "growth": lambda point, _: _ratio(point.sentences, axis.base(point).sentences),
        "slower": lambda point, _: _ratio(point.p50_ms, axis.base(point).p50_ms),
    }
    table = grid(axis.points, COLUMNS, language, axis_name(axis, language), more)
    heads = (table.columns[0], language.say(f"axis.{axis.name}"), *table.columns[2:])
    return Table(heads, table.rows, table.caption, table.words)


def _ratio(value: Estimate | None, base: Estimate | None) -> Entry:
    if value is None or base is None or not base.value or math.isinf(base.value):
        return Entry(figures.NONE, tone="muted")
    return Entry(figures.significant(value.value / base.value))
