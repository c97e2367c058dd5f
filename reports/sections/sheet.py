"""The sheet: the answer with its candidates, assumptions and commands, for one page of paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..facts.points import Series
from ..facts.report import Report
from ..facts.standing import standing
from ..plots.cost import CostView, CostWords
from ..plots.looks import Look, fewer, looks
from ..text.language import Language
from ..text.sheet import Sheet
from ..text.tables import Table
from .answer import card
from .decision import decision
from .explorer import COLUMNS, candidates_table
from .pictures.cost_view import cost_view, cost_words, priced_points

Looks = Mapping[Series, Look]

ON_THE_CARD = ("sure", "runner_up")
MOST_SERIES = 9  # more names do not fit beside the picture
SHORT = 12  # characters of a commit or digest that a reader needs
SHOWN = ("variant", "instances", "month", "capacity", "percentile")


def sheet(report: Report, language: Language) -> Sheet:
    """Return the answer of a report as a sheet."""
    said, header = card(report, language), report.header
    revision = str(header.model.get("revision") or "")[:SHORT]
    return Sheet(
        decision(report, language),
        candidates(report, language),
        tuple(line for line in said.lines if line.key not in ON_THE_CARD),
        language.say("command.label"),
        said.commands,
        said.caveat,
        language.say(
            "sheet.provenance",
            runs=str(language.words["list"]).join(run.header.run for run in report.runs),
            started=header.started,
            model=f"{header.model.get('name')} {revision}".strip(),
            tool=header.tool,
        ),
        language.words["sheet"]["more"],
    )


def small_cost(report: Report, language: Language) -> tuple[CostView, Looks, CostWords] | None:
    """Return what the sheet's picture shows, how, and its words; None without a priced point."""
    brought_out = standing(report)
    styles = looks(report, brought_out, language)
    shown, _ = fewer(report.points, styles, MOST_SERIES)
    view = cost_view(priced_points(report, brought_out), brought_out, shown)
    return None if view is None else (view, styles, cost_words(brought_out, styles, language))


def candidates(report: Report, language: Language) -> Table:
    """Return the explorer's table in fewer columns: the standing is a note to the name."""
    full = candidates_table(report, language)
    places = [COLUMNS.index(key) for key in SHOWN]
    rows = tuple(
        (replace(row[0], note=row[1].text, tone=row[1].tone), *(row[place] for place in places[1:]))
        for row in full.rows
    )
    return Table(tuple(full.columns[place] for place in places), rows, full.caption)
