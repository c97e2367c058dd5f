"""How speed grows along the scaling axes: a grid each."""

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
    """Return a grid an axis: throughput and latency at each level and against the lowest."""
    return tuple(_axis_grid(axis, language) for axis in report.scaling.axes)


def axis_name(axis: Axis, language: Language) -> str:
    """Return an axis as a reader calls it, with what stays the same along it."""
    fixed = load(axis.fixed, language) or language.say("scaling.plain")
    return language.say("scaling.caption", axis=language.say(f"axis.{axis.name}"), fixed=fixed)


def _axis_grid(axis: Axis, language: Language) -> Table:
    def level(point: MeasuredPoint, language: Language) -> Entry:
        return Entry(str(axis.level(point)), repeats(point, language))

    more: dict[str, Show] = {
        "level": level,
        "growth": lambda point, _: _times(point.sentences, axis.base(point).sentences),
        "slower": lambda point, _: _times(point.p50_ms, axis.base(point).p50_ms),
    }
    made = grid(axis.points, COLUMNS, language, axis_name(axis, language), more)
    heads = (made.columns[0], language.say(f"axis.{axis.name}"), *made.columns[2:])
    return Table(heads, made.rows, made.caption, made.words)


def _times(found: Estimate | None, base: Estimate | None) -> Entry:
    if found is None or base is None or not base.value or math.isinf(base.value):
        return Entry(figures.NONE, tone="muted")
    return Entry(figures.significant(found.value / base.value))
